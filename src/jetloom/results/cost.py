"""Single numbers of what a model costs."""

from typing import Any

from jetloom.results.collection import Entry


def milliseconds_per_jet(entry: Entry) -> dict[str, float]:
    """Latency of the largest batch, shared among its jets: median, low, high."""
    point = largest_batch(entry.costs)
    return {key: value / point["batch_size"] for key, value in point["milliseconds"].items()}


def largest_batch(cost: dict[str, Any]) -> dict[str, Any]:
    """The latency of the largest batch."""
    return max(cost["latency"], key=lambda point: point["batch_size"])


def busy(cost: dict[str, Any]) -> bool:
    """Whether a busy machine disturbed the latency of the largest batch; earlier versions did not say."""
    return not largest_batch(cost).get("steady", True)


def longest_input(cost: dict[str, Any]) -> dict[str, Any]:
    """The point of the length scan that is nearest to the longest input of the data set."""
    longest = cost["latency"][0]["particles"]
    return min(cost["length_scan"], key=lambda point: abs(point["particles"] - longest))


def device_hours(entry: Entry) -> float:
    """Hours of one device (GPU, or machine without one) that a training takes, mean over seeds."""
    hours: list[float] = []
    for result in entry.results:
        recipe = result.training["training"]
        hours.append(result.training["seconds"] / 3600 * recipe.get("devices", 1) * recipe.get("nodes", 1))
    return sum(hours) / len(hours)
