"""A number with what is known of its uncertainty, and the difference of two of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Value(NamedTuple):
    """A figure of merit of one model, averaged over its seeds."""

    value: float | None
    """None: the jets cannot measure it, ``low`` is its lower limit."""
    low: float | None
    """Lower end of the statistical interval."""
    high: float | None
    """Upper end; None: unbounded."""
    spread: float | None
    """Standard deviation over the seeds; None with one seed."""
    seeds: int

    @property
    def number(self) -> float:
        """``value``, where it is no limit.

        Raises:
            ValueError: it is one.
        """
        if self.value is None:
            raise ValueError("only a limit is known")
        return self.value

    @property
    def statistical(self) -> float | None:
        """Half the width of the statistical interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def combined(self) -> float | None:
        """Statistical uncertainty and uncertainty of the mean over seeds, in quadrature."""
        if self.statistical is None:
            return None
        return math.hypot(self.statistical, (self.spread or 0.0) / math.sqrt(self.seeds))


class Difference(NamedTuple):
    """A figure of merit of one model less that of another."""

    value: float
    uncertainty: float

    @property
    def sigma(self) -> float:
        """In units of its uncertainty."""
        return abs(self.value) / self.uncertainty if self.uncertainty > 0 else math.inf if self.value else 0.0


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None with one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def symmetric_interval(value: Value) -> tuple[float, float]:
    """Ends of the interval of a value with the scatter of the mean over seeds added in quadrature."""
    if value.value is None or value.low is None or value.high is None:
        raise ValueError("a limit has no interval")
    scatter = (value.spread or 0.0) / math.sqrt(value.seeds)
    return (
        value.value - math.hypot(value.value - value.low, scatter),
        value.value + math.hypot(value.high - value.value, scatter),
    )


def apart(first: tuple[float, float, float], second: tuple[float, float, float]) -> float | None:
    """Difference of two values (value, low, high), in units of the combined uncertainty.

    Of each interval the side towards the other value counts; None: neither has an uncertainty.
    """
    difference = first[0] - second[0]
    if difference >= 0:
        combined = math.hypot(first[0] - first[1], second[2] - second[0])
    else:
        combined = math.hypot(first[2] - first[0], second[0] - second[1])
    return difference / combined if combined > 0 else None
