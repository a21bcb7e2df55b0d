"""Means over seeds of what only classifiers have, and differences of accuracy on the same jets."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds
from jetloom.statistics.values import Difference, Value, apart, spread
from jetloom.tasks.classification.scores import Scores


def background(dataset: DataSet) -> str | None:
    """Class against which rejections are quoted; None: all the others."""
    name: str | None = dataset.first["background"]
    return name


def ranked(dataset: DataSet) -> list[Entry]:
    """Models of a data set, best accuracy first."""
    return sorted(dataset.entries, key=lambda entry: -(over_seeds(entry, "accuracy").value or 0.0))


def rejection_over_seeds(entry: Entry, signal: str) -> Value:
    """Background rejection of a model at the working point: inverse of the mean background efficiency over seeds.

    The mean is taken of eps_B and not of 1 / eps_B, which one seed with hardly any survivor would dominate.
    """
    return _rejection([result.metrics["values"]["rejection"][signal] for result in entry.results])


def rejection_at(entry: Entry, signal: str, efficiency: float) -> Value | None:
    """As :func:`rejection_over_seeds` at another signal efficiency; None: the evaluation did not compute it."""
    items = []
    for result in entry.results:
        values = result.metrics["values"]
        if signal not in values["rejection"]:
            return None
        computed = [values["rejection"][signal], *values.get("rejection_at", {}).get(signal, [])]
        items += [item for item in computed if abs(item["efficiency"] - efficiency) < 1e-9][:1]
    return _rejection(items) if len(items) == len(entry.results) else None


def mean_rejection_over_seeds(entry: Entry) -> Value | None:
    """Mean rejection over the signal classes, by the definition of the SAL-T paper; None: not computed."""
    items = [result.metrics["values"].get("rejection_mean") for result in entry.results]
    known = [item for item in items if item is not None and item["value"] is not None]
    if len(known) < len(items):
        return None
    value, low = (float(np.mean([item[key] for item in known])) for key in ("value", "low"))
    highs = [item["high"] for item in known]
    high = None if None in highs else float(np.mean(highs))
    return Value(value, low, high, spread([item["value"] for item in known]), len(known))


def combined_interval(value: Value) -> tuple[float, float | None]:
    """Ends of the interval of a rejection with the scatter of the mean over seeds added in quadrature.

    Added in eps_B, where it is symmetric; the upper end is None where eps_B = 0 is not excluded.
    """
    if value.value is None or value.low is None:
        raise ValueError("a lower limit has no interval")
    efficiency = 1 / value.value
    scatter = (value.spread or 0.0) * efficiency**2 / math.sqrt(value.seeds)
    up = math.hypot(1 / value.low - efficiency, scatter)
    down = math.hypot(efficiency - (1 / value.high if value.high else 0.0), scatter)
    return 1 / (efficiency + up), 1 / (efficiency - down) if value.high and down < efficiency else None


def survivors(entry: Entry, signal: str) -> float:
    """Background jets behind a rejection, mean over seeds."""
    items = [result.metrics["values"]["rejection"][signal] for result in entry.results]
    return float(np.mean([item["background_passing"] for item in items]))


def accuracy_difference(first: Entry, second: Entry) -> Difference:
    """Accuracy of ``first`` less that of ``second`` on the same jets.

    Jets that both get right or both get wrong cancel: the uncertainty is the standard error of the difference jet by
    jet, and in quadrature those of the two means over seeds.
    """
    difference = _share_correct(first) - _share_correct(second)
    variance = difference.var() / len(difference)
    for entry in (first, second):
        deviation = over_seeds(entry, "accuracy").spread
        variance += deviation**2 / len(entry.results) if deviation is not None else 0.0
    return Difference(float(difference.mean()), math.sqrt(variance))


def paired_difference(first: Entry, second: Entry) -> Difference | None:
    """Accuracy of ``first`` less that of ``second`` on the same jets, over the seeds that both have; None: no seed.

    A pair of trainings with the same seed has the same labelled jets: the uncertainty is the standard error of the
    difference jet by jet, and in quadrature that of its mean over the seeds.
    """
    others = {result.seed: result for result in second.results}
    pairs = [(result, others[result.seed]) for result in first.results if result.seed in others]
    if not pairs:
        return None
    by_jet, by_seed = np.zeros(0), []
    for one, other in pairs:
        change = one.read(Scores).correct.astype(float) - other.read(Scores).correct
        by_jet = by_jet + change / len(pairs) if len(by_jet) else change / len(pairs)
        by_seed.append(float(change.mean()))
    variance = by_jet.var() / len(by_jet) + (spread(by_seed) or 0.0) ** 2 / len(pairs)
    return Difference(float(by_jet.mean()), math.sqrt(variance))


def rejection_difference(first: Value | None, second: Value | None) -> Difference | None:
    """First less second; None where one of them is a limit or has no upper end."""
    if first is None or second is None or first.value is None or second.value is None:
        return None
    (low, high), (other_low, other_high) = combined_interval(first), combined_interval(second)
    if high is None or other_high is None:
        return None
    sigma = apart((first.value, low, high), (second.value, other_low, other_high))
    difference = first.value - second.value
    return Difference(
        difference, abs(difference / sigma) if sigma else math.hypot(first.value - low, other_high - second.value)
    )


def mean_confusion(entry: Entry) -> NDArray[np.float64]:
    """Share of the jets of each true class (rows) that go to each class, mean over seeds; (C, C)."""
    counts = np.mean([result.metrics["confusion"] for result in entry.results], axis=0)
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def roc_over_seeds(entry: Entry, signal: str) -> dict[str, NDArray[np.float64]]:
    """ROC curve: signal efficiency, mean background efficiency, and its uncertainty band (jets and seeds)."""
    curves = [result.metrics["roc"][signal] for result in entry.results]
    mean, low, high = (
        np.mean([curve[key] for curve in curves], axis=0) for key in ("background_efficiency", "low", "high")
    )
    scatter = 0.0
    if len(curves) > 1:
        values = [curve["background_efficiency"] for curve in curves]
        scatter = np.std(values, axis=0, ddof=1) / math.sqrt(len(curves))
    return {
        "signal_efficiency": np.array(curves[0]["signal_efficiency"]),
        "background_efficiency": mean,
        "low": np.maximum(mean - np.hypot(mean - low, scatter), 0),
        "high": np.minimum(mean + np.hypot(high - mean, scatter), 1),
    }


def _share_correct(entry: Entry) -> NDArray[np.float64]:
    """Share of the trainings that get a jet right, for each of the N jets."""
    share = entry.results[0].read(Scores).correct.astype(float)
    for result in entry.results[1:]:
        share += result.read(Scores).correct
    return share / len(entry.results)


def _rejection(items: list[dict[str, Any]]) -> Value:
    """The rejections of all seeds as one figure."""
    jets = items[0]["background_jets"]
    passing = float(np.mean([item["background_passing"] for item in items]))
    high = float(np.mean([1 / item["low"] if item["low"] else 1.0 for item in items]))
    low = float(np.mean([1 / item["high"] if item["high"] else 0.0 for item in items]))
    if passing < 1:
        return Value(None, 1 / high, None, None, len(items))
    deviation = spread([item["background_passing"] / jets for item in items])
    efficiency = passing / jets
    # First order: d(1/e) = de / e^2.
    scatter = None if deviation is None else deviation / efficiency**2
    return Value(1 / efficiency, 1 / high, 1 / low if low else None, scatter, len(items))
