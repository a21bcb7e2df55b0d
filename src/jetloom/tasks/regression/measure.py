"""Bias and resolution of predicted observables, with intervals, over all jets and in bins of another one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.errors import JetloomError
from jetloom.statistics.bootstrap import interval
from jetloom.tasks.task import Question, Seen, Task

BINS = 8192
"""Responses are counted in at most so many bins of equal content: single jets in small samples."""
SCALE_BINS = 8
"""Bins of equal content in the observer against which the response is drawn."""
FEWEST = 20
"""Jets from which on a bin is quoted."""
CENTRAL = (0.16, 0.84)
"""Quantiles between which the central 68 % lie."""


def merit(task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says of a regression.

    The response of a jet is r = predicted / true. ``bias`` is median(r) - 1, ``resolution`` half the width of the
    central 68 % of r.

    Returns:
        ``jets`` (those that have a target), ``left_out``, ``confidence``, ``resamplings``, ``values`` (bias and
        resolution, each with value, low, high) and ``bins`` (the same in bins of ``task.scale``), if there are any.

    Raises:
        JetloomError: fewer than 20 jets have a target, or a prediction is not finite.
    """
    predicted, truth = seen.values[:, 0].astype(float), seen.truths[:, 0].astype(float)
    counted = np.isfinite(truth)
    if counted.sum() < FEWEST:
        raise JetloomError(f"{task.columns[0]}: {int(counted.sum())} jets have a target; expected at least {FEWEST}")
    if not np.isfinite(predicted[counted]).all():
        raise JetloomError(f"{task.columns[0]}: predictions are not finite; the training has diverged")
    response = predicted[counted] / truth[counted]
    confidence, resamplings = asked.settings.confidence, asked.settings.bootstrap
    result = {
        "jets": len(response),
        "left_out": int(len(truth) - counted.sum()),
        "confidence": confidence,
        "resamplings": resamplings,
        "values": spread(response, confidence, resamplings, asked.seed),
    }
    if seen.scale is not None and task.scale is not None:
        result["bins"] = _binned(response, seen.scale[counted], task.scale, asked)
    return result


def spread(response: NDArray[np.float64], confidence: float, resamplings: int, seed: int) -> dict[str, Any]:
    """Bias and resolution of some responses.

    The bootstrap is a Poisson one: each sample takes a jet k times with the probability of Poisson(1), in bins of equal
    content, which are single jets where there are no more than ``BINS``.

    Args:
        response: (N,) predicted over true.
        confidence: coverage of the intervals.
        resamplings: samples.
        seed: of the samples.

    Returns:
        ``bias`` and ``resolution``, each ``value``, ``low``, ``high``.
    """
    ordered = np.sort(response)
    edges = np.linspace(0, len(ordered), min(BINS, len(ordered)) + 1).astype(int)
    content = np.diff(edges)
    middle = np.add.reduceat(ordered, edges[:-1]) / content
    generator = np.random.default_rng([seed, len(ordered)])
    drawn = generator.poisson(content, (resamplings, len(content))).cumsum(axis=1)
    samples = np.array([_figures(middle, row) for row in drawn])
    whole = _figures(ordered, np.arange(1, len(ordered) + 1))
    low, high = interval(samples, confidence)
    return {
        name: {"value": float(whole[place]), "low": float(low[place]), "high": float(high[place])}
        for place, name in enumerate(("bias", "resolution"))
    }


def _figures(ordered: NDArray[np.float64], cumulated: NDArray[np.integer]) -> tuple[float, float]:
    """Median less 1, and half the central width, of values that have been drawn so often."""
    places = np.searchsorted(cumulated, np.array([CENTRAL[0], 0.5, CENTRAL[1]]) * cumulated[-1])
    low, median, high = ordered[np.minimum(places, len(ordered) - 1)]
    return median - 1.0, (high - low) / 2


def _binned(response: NDArray[np.float64], scale: NDArray[np.float32], name: str, asked: Question) -> dict[str, Any]:
    edges = np.unique(np.quantile(scale, np.linspace(0, 1, SCALE_BINS + 1)))
    place = np.clip(np.searchsorted(edges, scale, side="right") - 1, 0, max(len(edges) - 2, 0))
    bins: dict[str, Any] = {"observer": name, "edges": edges.tolist(), "jets": [], "bias": [], "resolution": []}
    for index in range(len(edges) - 1):
        inside = response[place == index]
        bins["jets"].append(len(inside))
        values = (
            spread(inside, asked.settings.confidence, asked.settings.bootstrap, asked.seed + 1 + index)
            if len(inside) >= FEWEST
            else {"bias": None, "resolution": None}
        )
        for figure, value in values.items():
            bins[figure].append(value)
    return bins
