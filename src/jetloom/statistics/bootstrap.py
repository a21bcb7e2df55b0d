"""Intervals: bootstrap over jets, and the exact binomial one where few jets are left."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from jetloom.statistics import Array, Statistic

FEW = 10
"""Below so many surviving background jets a bootstrap underestimates, and the exact interval is used."""

_CELLS = 20_000_000


def resamples(label: NDArray[np.integer], number: int, seed: int = 0) -> Iterator[Array]:
    """Bootstrap weights, how often each jet is drawn, in chunks (r, N) of bounded memory.

    Jets are drawn with replacement *inside their class*: how many jets of each class the sample holds was chosen, not
    measured. The same seed gives the same samples whatever the chunks.
    """
    jets = len(label)
    order = np.argsort(label, kind="stable")
    counts = np.bincount(label)[np.unique(label)]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    low, high = np.repeat(starts, counts), np.repeat(starts + counts, counts)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS // max(jets, 1))
    for begin in range(0, number, chunk):
        rows = min(chunk, number - begin)
        drawn = order[np.minimum(low + (generator.random((rows, jets)) * (high - low)).astype(np.int64), high - 1)]
        drawn += jets * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * jets).reshape(rows, jets).astype(float)


def bootstrap(
    statistics: dict[str, Statistic], label: NDArray[np.integer], number: int, seed: int = 0
) -> dict[str, tuple[Array, Array]]:
    """Values of statistics on the jets themselves, and on ``number`` bootstrap samples (all see the same samples).

    Returns:
        For each statistic its value of shape S and the resampled values (number, *S).
    """
    chunks: dict[str, list[Array]] = {name: [] for name in statistics}
    for weights in resamples(label, number, seed):
        for name, statistic in statistics.items():
            chunks[name].append(statistic(weights))
    ones = np.ones((1, len(label)))
    return {name: (statistic(ones)[0], np.concatenate(chunks[name])) for name, statistic in statistics.items()}


def interval(samples: Array, confidence: float) -> tuple[Array, Array]:
    """Central percentile interval over the first axis."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def binomial_interval(passed: int, total: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of an efficiency (the binomial form of Garwood's Poisson interval).

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404. With no survivor the lower end is 0. SciPy's
    ``binomtest(...).proportion_ci`` looks for the same ends by bisection to 2e-12, which is not enough for one survivor
    of 1e8 jets; the quantiles of the beta distribution are exact.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if passed == 0 else float(betaincinv(passed, total - passed + 1, tail))
    high = 1.0 if passed == total else float(betaincinv(passed + 1, total - passed, 1 - tail))
    return low, high


def wilson_interval(passed: int, total: int) -> tuple[float, float]:
    """One standard deviation of an efficiency to both sides, also with few jets and near one.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209: the p with (passed / total - p)^2 = p (1 - p) / total.
    """
    efficiency = passed / total
    half = math.sqrt(efficiency * (1 - efficiency) / total + 0.25 / total**2)
    low, high = ((efficiency + 0.5 / total + way * half) / (1 + 1 / total) for way in (-1, 1))
    # An end that is 0 or 1 comes out of a difference.
    return max(low, 0.0) if passed else 0.0, min(high, 1.0) if passed < total else 1.0
