"""Means over seeds."""

import numpy as np

from jetloom.results.collection import Entry
from jetloom.statistics.values import Value, spread


def over_seeds(entry: Entry, name: str) -> Value:
    """One of the ``values`` of ``metrics.json``: mean over seeds, mean statistical interval, spread.

    All seeds are evaluated on the same jets, so their statistical uncertainty does not shrink with their number.
    """
    return mean_value([result.metrics["values"][name] for result in entry.results])


def mean_value(items: list[dict[str, float]]) -> Value:
    """The mean of ``value``, ``low`` and ``high`` of all seeds."""
    mean, low, high = (float(np.mean([item[key] for item in items])) for key in ("value", "low", "high"))
    return Value(mean, low, high, spread([item["value"] for item in items]), len(items))
