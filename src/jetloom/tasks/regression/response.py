"""The response r = predicted / true of each jet, in the whole and against pT; means over seeds and differences."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetloom.results.collection import Entry, Result, Task
from jetloom.results.over_seeds import mean_value, over_seeds
from jetloom.results.predictions import Predictions
from jetloom.statistics.values import Difference, Value

Array = NDArray[np.float64]
BLOCKS = 50
"""Parts of the test jets from whose scatter the uncertainty of a difference is taken."""
FEWEST = 20
"""Jets of a part, below which its quantiles say nothing."""
ONE_SIGMA = (0.16, 0.84)
"""Quantiles between which the central 68 % lie."""


def quantity(task: Task) -> str:
    """What is predicted, as the columns of the predictions are called: the target, over what it is relative to."""
    return "_over_".join(task.settings[key] for key in ("target", "relative_to") if task.settings.get(key))


def responses(result: Result, predicted: str) -> Array:
    """(n,) predicted / true of a training, of the jets that have a target."""
    columns = result.read(Predictions).columns
    truth = columns[f"true_{predicted}"].astype(float)
    response: Array = (columns[f"predicted_{predicted}"] / truth)[np.isfinite(truth)]
    return response


def bias(response: Array) -> float:
    """median(r) - 1."""
    return float(np.median(response)) - 1


def resolution(response: Array) -> float:
    """Half the width of the central 68 % of r."""
    low, high = np.quantile(response, ONE_SIGMA)
    return float(high - low) / 2


def difference(
    name: str, statistic: Callable[[Array], float], predicted: str, first: Entry, second: Entry
) -> Difference | None:
    """A figure of merit of one model less that of another on the same jets; None: too few jets.

    Both are computed in ``BLOCKS`` equal parts of the jets, every n-th jet each, as files are sorted by length. What
    both models have in common cancels part by part: the uncertainty is the standard error of the differences, and in
    quadrature those of the two means over seeds.
    """
    parts = []
    for entry in (first, second):
        of_seeds = [responses(result, predicted) for result in entry.results]
        if len(of_seeds[0]) < BLOCKS * FEWEST:
            return None
        parts.append(np.mean([[statistic(one[start::BLOCKS]) for start in range(BLOCKS)] for one in of_seeds], axis=0))
    values = [over_seeds(entry, name) for entry in (first, second)]
    scatter = ((value.spread or 0.0) / math.sqrt(value.seeds) for value in values)
    error = math.hypot(float(np.std(parts[0] - parts[1], ddof=1)) / math.sqrt(BLOCKS), *scatter)
    return Difference((values[0].value or 0.0) - (values[1].value or 0.0), error)


class Bin(NamedTuple):
    """The jets between two edges of pT (or of another observer)."""

    low: float
    high: float
    jets: int
    value: Value | None
    """None: too few jets."""


def bins(entry: Entry, name: str) -> list[Bin]:
    """``bias`` or ``resolution`` in bins, over seeds; none where the data have no such observer."""
    stored: list[dict[str, Any]] = [result.metrics.get("bins") or {} for result in entry.results]
    edges = stored[0].get("edges", [])
    found = []
    for place in range(len(edges) - 1):
        items = [content[name][place] for content in stored]
        known = all(item and item["value"] is not None for item in items)
        value = mean_value(items) if known else None
        found.append(Bin(edges[place], edges[place + 1], stored[0]["jets"][place], value))
    return found
