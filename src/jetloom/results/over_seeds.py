"""Means over seeds, and comparisons of models on the same jets."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetloom.drawing.numbers import Figure
from jetloom.results.collect import DataSet, Entry


def over_seeds(entry: Entry, name: str) -> Figure:
    """Accuracy, auc or loss of a model: mean over seeds, mean statistical interval, spread.

    All seeds are scored on the same jets, so their statistical uncertainty does not shrink with their number.
    """
    values = [result.metrics["values"][name] for result in entry.results]
    mean, low, high = (float(np.mean([item[key] for item in values])) for key in ("value", "low", "high"))
    return Figure(mean, low, high, _spread([item["value"] for item in values]), len(values))


def rejection_over_seeds(entry: Entry, signal: str) -> Figure:
    """Background rejection of a model at the working point: inverse of the mean background efficiency over seeds.

    The mean is taken of eps_B and not of 1 / eps_B, which one seed with hardly any survivor would dominate.
    """
    return _rejection([result.metrics["values"]["rejection"][signal] for result in entry.results])


def rejection_at(entry: Entry, signal: str, efficiency: float) -> Figure | None:
    """As :func:`rejection_over_seeds` at another signal efficiency; None: the evaluation did not compute it."""
    items = []
    for result in entry.results:
        values = result.metrics["values"]
        computed = [values["rejection"][signal], *values.get("rejection_at", {}).get(signal, [])]
        items += [item for item in computed if abs(item["efficiency"] - efficiency) < 1e-9][:1]
    return _rejection(items) if len(items) == len(entry.results) else None


def mean_rejection_over_seeds(entry: Entry) -> Figure | None:
    """Mean rejection over the signal classes, by the definition of the SAL-T paper; None: not computed."""
    items = [result.metrics["values"].get("rejection_mean") for result in entry.results]
    known = [item for item in items if item is not None and item["value"] is not None]
    if len(known) < len(items):
        return None
    value, low = (float(np.mean([item[key] for item in known])) for key in ("value", "low"))
    highs = [item["high"] for item in known]
    high = None if None in highs else float(np.mean(highs))
    return Figure(value, low, high, _spread([item["value"] for item in known]), len(known))


def combined_interval(figure: Figure) -> tuple[float, float | None]:
    """Ends of the interval of a rejection with the scatter of the mean over seeds added in quadrature.

    Added in eps_B, where it is symmetric; the upper end is None where eps_B = 0 is not excluded.
    """
    if figure.value is None or figure.low is None:
        raise ValueError("a lower limit has no interval")
    efficiency = 1 / figure.value
    scatter = (figure.spread or 0.0) * efficiency**2 / math.sqrt(figure.seeds)
    up = math.hypot(1 / figure.low - efficiency, scatter)
    down = math.hypot(efficiency - (1 / figure.high if figure.high else 0.0), scatter)
    return 1 / (efficiency + up), 1 / (efficiency - down) if figure.high and down < efficiency else None


def symmetric_interval(figure: Figure) -> tuple[float, float]:
    """Ends of the interval of an accuracy or AUC with the scatter of the mean over seeds added in quadrature."""
    if figure.value is None or figure.low is None or figure.high is None:
        raise ValueError("a limit has no interval")
    scatter = (figure.spread or 0.0) / math.sqrt(figure.seeds)
    return (
        figure.value - math.hypot(figure.value - figure.low, scatter),
        figure.value + math.hypot(figure.high - figure.value, scatter),
    )


def apart(first: tuple[float, float, float], second: tuple[float, float, float]) -> float | None:
    """Difference of two figures (value, low, high), in units of the combined uncertainty.

    Of each interval the side towards the other figure counts; None: neither has an uncertainty.
    """
    difference = first[0] - second[0]
    if difference >= 0:
        combined = math.hypot(first[0] - first[1], second[2] - second[0])
    else:
        combined = math.hypot(first[2] - first[0], second[0] - second[1])
    return difference / combined if combined > 0 else None


def survivors(entry: Entry, signal: str) -> float:
    """Background jets behind a rejection, mean over seeds."""
    items = [result.metrics["values"]["rejection"][signal] for result in entry.results]
    return float(np.mean([item["background_passing"] for item in items]))


class Difference(NamedTuple):
    """Accuracy of one model less that of another."""

    value: float
    uncertainty: float

    @property
    def sigma(self) -> float:
        """In units of its uncertainty."""
        return abs(self.value) / self.uncertainty if self.uncertainty > 0 else math.inf if self.value else 0.0


def accuracy_difference(first: Entry, second: Entry) -> Difference:
    """Accuracy of ``first`` less that of ``second`` on the same jets.

    Jets that both get right or both get wrong cancel: the uncertainty is the standard error of the difference jet by
    jet, and in quadrature those of the two means over seeds.
    """
    difference = _share_correct(first) - _share_correct(second)
    variance = difference.var() / len(difference)
    for entry in (first, second):
        spread = over_seeds(entry, "accuracy").spread
        variance += spread**2 / len(entry.results) if spread is not None else 0.0
    return Difference(float(difference.mean()), math.sqrt(variance))


def ranked(dataset: DataSet) -> list[Entry]:
    """Models of a data set, best accuracy first."""
    return sorted(dataset.entries, key=lambda entry: -(over_seeds(entry, "accuracy").value or 0.0))


def mean_confusion(entry: Entry) -> NDArray[np.float64]:
    """Share of the jets of each true class (rows) that go to each class, mean over seeds; (C, C)."""
    counts = np.mean([result.metrics["confusion"] for result in entry.results], axis=0)
    return counts / counts.sum(axis=1, keepdims=True)


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


def pareto(points: list[tuple[float, float]]) -> list[int]:
    """Indices of (cost, gain) points that no other point beats in both, by rising cost."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front: list[int] = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def _share_correct(entry: Entry) -> NDArray[np.float64]:
    """Share of the trainings that get a jet right, for each of the N jets."""
    share = entry.results[0].predictions.correct.astype(float)
    for result in entry.results[1:]:
        share += result.predictions.correct
    return share / len(entry.results)


def _rejection(items: list[dict[str, Any]]) -> Figure:
    """The rejections of all seeds as one figure."""
    jets = items[0]["background_jets"]
    passing = float(np.mean([item["background_passing"] for item in items]))
    high = float(np.mean([1 / item["low"] if item["low"] else 1.0 for item in items]))
    low = float(np.mean([1 / item["high"] if item["high"] else 0.0 for item in items]))
    if passing < 1:
        return Figure(None, 1 / high, None, None, len(items))
    spread = _spread([item["background_passing"] / jets for item in items])
    efficiency = passing / jets
    # First order: d(1/e) = de / e^2.
    scatter = None if spread is None else spread / efficiency**2
    return Figure(1 / efficiency, 1 / high, 1 / low if low else None, scatter, len(items))


def _spread(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
