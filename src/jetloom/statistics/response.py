"""Bias and resolution of responses, predicted over true, with bootstrap intervals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.statistics.bootstrap import interval

BINS = 8192
"""Responses are counted in at most so many bins of equal content: single jets in small samples."""
CENTRAL = (0.16, 0.84)
"""Quantiles between which the central 68 % lie."""


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
