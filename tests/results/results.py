"""Results of which only some figures are known."""

from pathlib import Path

from jetloom.results.collection import Entry, Result


def result(seed: int, accuracy: float, passing: float, predictions: Path = Path("none")) -> Result:
    """A result of which only some figures are known."""
    background = 400
    rejection = {
        "value": background / passing if passing >= 1 else None,
        "low": background / (passing + 2),
        "high": background / (passing - 0.5) if passing >= 1 else None,
        "background_passing": passing,
        "background_jets": background,
    }
    values = {
        "accuracy": {"value": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01},
        "rejection": {"Hbb": rejection},
    }
    return Result(seed, {"values": values}, {}, {}, predictions)


def entry(*results: Result) -> Entry:
    return Entry("d", "m", "M", list(results), None)
