"""Bias and resolution of predicted observables, with intervals, over all jets and in bins of another one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.errors import JetloomError
from jetloom.statistics.response import spread
from jetloom.tasks.task import Question, Seen, Task

SCALE_BINS = 8
"""Bins of equal content in the observer against which the response is drawn."""
FEWEST = 20
"""Jets from which on a bin is quoted."""


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
