"""Scores and labels of a test split -> the content of ``metrics.json``, every figure with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.evaluation import metrics
from jetloom.evaluation.bootstrap import FEW, binomial_interval, bootstrap, interval
from jetloom.evaluation.metrics import Array


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
        mean_rejection: signal efficiency of the mean rejection of :func:`metrics.mean_rejection`; None: not computed.
        seed: of the bootstrap.

    Returns:
        ``jets``, ``per_class``, ``values`` (accuracy, auc, loss, rejection; rejection_at: by class and efficiency;
        rejection_mean, where it was asked for), ``confusion`` (counts, rows = true),
        ``confusion_interval`` (shares of a row) and ``roc``; a figure that the jets cannot measure is None.

    Raises:
        JetloomError: a class without jets, scores that are not finite.
    """
    metrics.check(scores, label, classes)
    against = classes.index(background) if background else None
    signals = [name for name in working_points if name != background]
    grid = metrics.efficiency_grid()
    statistics = {
        "accuracy": metrics.accuracy(scores, label),
        "auc": metrics.macro_auc(scores, label),
        "loss": metrics.cross_entropy(scores, label),
        "confusion": metrics.confusion(scores, label),
    }
    for name in signals:
        statistics[f"roc {name}"] = metrics.background_efficiency(
            scores, label, classes.index(name), against, np.concatenate([grid, [working_points[name]], efficiencies])
        )
    if mean_rejection is not None:
        statistics["mean rejection"] = metrics.mean_rejection(
            scores, label, [classes.index(name) for name in signals], mean_rejection
        )
    results = bootstrap(statistics, label, resamplings, seed)

    counts = np.bincount(label, minlength=len(classes))
    values: dict[str, Any] = {}
    for name in ("accuracy", "auc", "loss"):
        value, samples = results[name]
        low, high = interval(samples, confidence)
        values[name] = {"value": float(value), "low": float(low), "high": float(high)}
    values["rejection"], values["rejection_at"] = {}, {}
    curves = {}
    for name in signals:
        value, samples = results[f"roc {name}"]
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
    low, high = interval(results["confusion"][1], confidence)
    return {
        "jets": len(label),
        "per_class": dict(zip(classes, counts.tolist(), strict=True)),
        "confidence": confidence,
        "resamplings": resamplings,
        "values": values,
        "confusion": metrics.confusion_counts(scores, label).tolist(),
        "confusion_interval": {"low": [_short(row) for row in low], "high": [_short(row) for row in high]},
        "roc": curves,
    }


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
