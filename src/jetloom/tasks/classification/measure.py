"""Scores and labels of a test split -> the content of ``metrics.json``, every figure with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.statistics import Array
from jetloom.statistics.bootstrap import FEW, binomial_interval, bootstrap, interval
from jetloom.statistics.closeness import multi_classifier
from jetloom.tasks.classification import metrics
from jetloom.tasks.classification.grouped import Grouped
from jetloom.tasks.task import Over, Question, Seen, Task

LARGE = 500_000
"""Jets from which on bootstrap samples are drawn in groups: a weight for each jet takes minutes and gigabytes."""


def merit(task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says of a classification.

    Raises:
        JetloomError: a class without jets, scores that are not finite.
    """
    settings = asked.settings
    measured = figures_of_merit(
        seen.values,
        seen.label,
        classes=task.data.classes,
        background=asked.background,
        working_points=dict(asked.working_points),
        resamplings=settings.bootstrap,
        confidence=settings.confidence,
        efficiencies=settings.efficiencies,
        mean_rejection=settings.mean_rejection,
        seed=asked.seed,
    )
    if seen.truth is not None:
        measured["posteriors"] = posteriors(_of_truth(task, seen.truth), task.data.classes, settings.confidence)
    return {"background": asked.background, **measured}


def posteriors(probabilities: NDArray[np.floating], classes: Sequence[str], confidence: float) -> dict[str, Any]:
    """To which part of a mixture a classifier assigns jets that are of none of them: which is closest to the truth.

    Args:
        probabilities: (n, C) of n jets.
        classes: C names.
        confidence: coverage of the intervals, those of a mean.

    Returns:
        ``jets``, ``confidence`` and ``values``: of each class -mean ln p (:func:`multi_classifier`), ``low``, ``high``.
    """
    value, error = multi_classifier(probabilities)
    reach = error * ndtri((1 + confidence) / 2)
    rows = zip(value.tolist(), (value - reach).tolist(), (value + reach).tolist(), strict=True)
    values = [{"value": middle, "low": low, "high": high} for middle, low, high in rows]
    return {"jets": len(probabilities), "confidence": confidence, "values": dict(zip(classes, values, strict=True))}


def _of_truth(task: Task, ask: Over) -> NDArray[np.float32]:
    def answer(network: nn.Module, batch: Batch) -> tuple[Tensor]:
        return (task.outputs(task.answer(network, batch)),)

    return np.concatenate([values for (values,) in ask("evaluated", answer)])


def lost(
    scores: NDArray[np.floating], other: NDArray[np.floating], label: NDArray[np.integer], confidence: float
) -> dict[str, Any]:
    """Accuracy that other scores of the same jets lose, with the normal interval of the difference jet by jet.

    Args:
        scores: (N, C).
        other: (N, C).
        label: (N,) class index.
        confidence: coverage.
    """
    difference = (scores.argmax(axis=1) == label).astype(float) - (other.argmax(axis=1) == label)
    middle = float(difference.mean())
    error = float(ndtri((1 + confidence) / 2) * difference.std() / np.sqrt(len(difference)))
    return {"accuracy": {"value": middle, "low": middle - error, "high": middle + error}}


def figures_of_merit(
    scores: NDArray[np.floating],
    label: NDArray[np.integer],
    *,
    classes: list[str],
    background: str | None,
    working_points: dict[str, float],
    resamplings: int,
    confidence: float,
    efficiencies: Sequence[float] = (),
    mean_rejection: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything ``metrics.json`` says about the predictions.

    Args:
        scores: (N, C) probabilities.
        label: (N,) class index.
        classes: C names.
        background: class against which rejections are quoted; None: all the others.
        working_points: signal efficiency for each signal class that has one.
        resamplings: bootstrap samples behind each interval.
        confidence: coverage of the central intervals.
        efficiencies: signal efficiencies of further rejections of each signal class.
        mean_rejection: signal efficiency of the mean rejection of :func:`metrics.mean_rejection`; None, or no working
            point: not computed.
        seed: of the bootstrap.

    Returns:
        ``jets``, ``per_class``, ``values`` (accuracy, auc, loss, rejection; rejection_at: by class and efficiency;
        rejection_mean, where it was asked for), ``confusion`` (counts, rows = true) and ``roc``; a figure that the
        jets cannot measure is None.

    Above ``LARGE`` jets the samples are those of :mod:`jetloom.tasks.classification.grouped`.

    Raises:
        JetloomError: a class without jets, scores that are not finite.
    """
    metrics.check(scores, label, classes)
    against = classes.index(background) if background else None
    signals = [name for name in working_points if name != background]
    if not signals:
        # Of several data sets of an experiment some may have none, such as shapes: they have no rejection of any kind.
        mean_rejection = None
    grid = metrics.efficiency_grid()
    points = {classes.index(name): np.array([*grid, working_points[name], *efficiencies]) for name in signals}
    compute = _resampled_by_jet if len(label) <= LARGE else _resampled_in_groups
    results = compute(scores, label, against, points, mean_rejection, resamplings, seed)

    counts = np.bincount(label, minlength=len(classes))
    values: dict[str, Any] = {}
    for name in ("accuracy", "auc", "loss"):
        value, samples = results[name]
        low, high = interval(samples, confidence)
        values[name] = {"value": float(value), "low": float(low), "high": float(high)}
    values["rejection"], values["rejection_at"] = {}, {}
    curves = {}
    for name in signals:
        value, samples = results[f"roc {classes.index(name)}"]
        jets = int(counts[against] if against is not None else len(label) - counts[classes.index(name)])
        rejections = [
            {"efficiency": efficiency} | rejection(float(value[place]), samples[:, place], jets, confidence)
            for place, efficiency in enumerate([working_points[name], *efficiencies], start=len(grid))
        ]
        values["rejection"][name], *further = rejections
        values["rejection_at"][name] = further
        low, high = interval(samples[:, : len(grid)], confidence)
        curves[name] = {
            "signal_efficiency": _short(grid),
            "background_efficiency": _short(value[: len(grid)]),
            "low": _short(low),
            "high": _short(high),
        }
    if mean_rejection is not None:
        value, samples = results["mean rejection"]
        low, high = interval(samples, confidence)
        measured = bool(np.isfinite(value))
        values["rejection_mean"] = {
            "efficiency": mean_rejection,
            "value": float(value) if measured else None,
            "low": float(low) if np.isfinite(low) else None,
            "high": float(high) if measured and np.isfinite(high) else None,
        }
    return {
        "jets": len(label),
        "per_class": dict(zip(classes, counts.tolist(), strict=True)),
        "confidence": confidence,
        "resamplings": resamplings,
        "values": values,
        "confusion": metrics.confusion_counts(scores, label).tolist(),
        "roc": curves,
    }


def _resampled_by_jet(
    scores: NDArray[np.floating],
    label: NDArray[np.integer],
    against: int | None,
    points: dict[int, Array],
    mean_rejection: float | None,
    resamplings: int,
    seed: int,
) -> dict[str, tuple[Array, Array]]:
    """Value and samples of each figure; all figures see the same samples."""
    statistics = {
        "accuracy": metrics.accuracy(scores, label),
        "auc": metrics.macro_auc(scores, label),
        "loss": metrics.cross_entropy(scores, label),
    }
    for signal, efficiencies in points.items():
        statistics[f"roc {signal}"] = metrics.background_efficiency(scores, label, signal, against, efficiencies)
    if mean_rejection is not None:
        statistics["mean rejection"] = metrics.mean_rejection(scores, label, list(points), mean_rejection)
    return bootstrap(statistics, label, resamplings, seed)


def _resampled_in_groups(
    scores: NDArray[np.floating],
    label: NDArray[np.integer],
    against: int | None,
    points: dict[int, Array],
    mean_rejection: float | None,
    resamplings: int,
    seed: int,
) -> dict[str, tuple[Array, Array]]:
    """The same, each figure with samples of its own."""
    grouped = Grouped(scores, label, resamplings, seed)
    results = {"accuracy": grouped.accuracy(), "auc": grouped.macro_auc(), "loss": grouped.cross_entropy()}
    for signal, efficiencies in points.items():
        results[f"roc {signal}"] = grouped.background_efficiency(signal, against, efficiencies)
    if mean_rejection is not None:
        results["mean rejection"] = grouped.mean_rejection(list(points), mean_rejection)
    return results


def rejection(efficiency: float, samples: Array, jets: int, confidence: float) -> dict[str, Any]:
    """1 / eps_B with its interval.

    The bootstrap repeats the fluctuation of the cut and of the survivors, but it cannot draw a background jet that
    never passed. With fewer than ``FEW`` survivors the interval therefore also covers the exact binomial one. With
    less than one survivor there is no value, only its lower limit.

    Args:
        efficiency: eps_B.
        samples: (R,) eps_B of the bootstrap samples.
        jets: background jets of the sample.
        confidence: coverage.

    Returns:
        ``value``, ``low``, ``high`` (None: unbounded), ``background_passing`` (interpolated, so not whole),
        ``background_jets`` and ``interval`` (its kind).
    """
    low, high = map(float, interval(samples, confidence))
    passing = efficiency * jets
    kind = "bootstrap"
    if passing < FEW:
        # Interpolation can leave a part of a jet; the exact interval is for what was counted.
        exact = binomial_interval(round(passing) if passing >= 1 else 0, jets, confidence)
        low, high = min(low, exact[0]), max(high, exact[1])
        kind = "bootstrap and Clopper-Pearson"
    measured = passing > 1 - 1e-9
    return {
        "value": 1 / efficiency if measured else None,
        "low": 1 / high if high > 0 else None,
        "high": 1 / low if low > 0 and measured else None,
        "background_passing": round(passing, 3),
        "background_jets": jets,
        "interval": kind,
    }


def _short(values: Array) -> list[float]:
    """Six digits: what lies below is no information and fills the file."""
    return [float(f"{value:.6g}") for value in values]
