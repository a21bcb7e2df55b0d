"""How close two samples of one quantity are, and other figures of merit of generated jets."""

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.special import entr

from jetloom.statistics import Array

Values = NDArray[np.floating | np.integer]
"""(n,) values of a quantity, one of each jet, none of them NaN."""

SMALLEST_PROBABILITY = 1e-12


class Floor(NamedTuple):
    """Distance between two samples of the same jets: what a perfect generator reaches."""

    mean: float
    low: float
    """5 % quantile over the splits."""
    high: float
    """95 % quantile."""
    size: int
    """Jets in each sample."""


class Divergence(NamedTuple):
    """A Kullback-Leibler divergence in nats."""

    value: float
    expected: float
    """Its mean where both samples come from one distribution."""


def wasserstein(one: Values, other: Values) -> float:
    """W1, the area between the two cumulative distributions, in the unit of the quantity.

    Raises:
        ValueError: a sample is empty.
    """
    # scipy.stats takes a second to import, which happens here: what a classifier says needs none of it.
    return float(scipy.stats.wasserstein_distance(one, other))


def floor(reference: Values, size: int, splits: int = 40, seed: int = 0) -> Floor:
    """W1 between two disjoint random samples out of one.

    Args:
        reference: (n,), at least two values.
        size: values in each sample; n // 2 if that is less.
        splits: pairs of samples.
        seed: of the random choice.

    Raises:
        ValueError: ``reference`` has fewer than two values.
    """
    if len(reference) < 2:
        raise ValueError("two samples need at least two values")
    size = min(size, len(reference) // 2)
    generator = np.random.default_rng(seed)
    drawn = (generator.choice(reference, 2 * size, replace=False) for _ in range(splits))
    distances = [wasserstein(values[:size], values[size:]) for values in drawn]
    low, high = np.quantile(distances, [0.05, 0.95])
    return Floor(float(np.mean(distances)), float(low), float(high), size)


def kl(reference: Values, other: Values, bins: int = 30) -> Divergence:
    """KL(p || q) = sum p ln(p / q) of the shares p of a reference and q of another sample in the bins of the reference.

    The B bins have equal shares of the reference and reach to infinity at both ends. Where values repeat, as those of a
    multiplicity do, equal edges count once: B is what remains, and p what the bins hold. q has Jeffreys' half a count
    in each bin, (n_b + 1/2) / (n + B/2), or B p_b / 2 where the bins are unequal: identical samples always give 0.

    Args:
        reference: (m,).
        other: (n,).
        bins: B.

    Returns:
        The value, and (B - 1) / 2 (1/m + 1/n), its expectation under equality for m and n much larger than B.

    Raises:
        ValueError: a sample is empty.
    """
    _demand_values(reference, other)
    edges = np.quantile(reference, np.arange(1, bins) / bins)
    p = _counts(reference, edges) / len(reference)
    filled = p > 0  # between two equal edges there is nothing
    bins = int(filled.sum())
    q = (_counts(other, edges) + bins / 2 * p) / (len(other) + bins / 2)
    value = float(np.sum(p[filled] * np.log(p[filled] / q[filled])))
    return Divergence(max(value, 0.0), (bins - 1) / 2 * (1 / len(reference) + 1 / len(other)))


def _counts(values: Values, edges: Array) -> Array:
    """Values in (-inf, e_1], (e_1, e_2], ..., (e_last, inf)."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1).astype(float)


def kl_density(reference: Values, other: Values, edges: int = 50) -> float:
    """The divergence that OmniJet-alpha quotes (arXiv:2403.05618, author code); no KL of probabilities.

    Edges are the quantiles 0.1 % ... 99.9 % of the reference, equally spaced in probability. The densities (share over
    width of the bin) plus 1e-8 are made to sum to one and then taken for probabilities, so narrow bins weigh more than
    wide ones; what lies outside the edges is ignored. Equal edges count once (ours).

    Args:
        reference: (m,).
        other: (n,).
        edges: number of edges, one more than bins.

    Returns:
        The value; NaN where all edges are equal.

    Raises:
        ValueError: a sample is empty.
    """
    _demand_values(reference, other)
    ends = np.unique(np.quantile(reference, np.linspace(0.001, 0.999, edges)))
    if len(ends) < 2:
        return float("nan")
    counts = [np.histogram(values, ends)[0] for values in (reference, other)]
    p, q = (count / max(count.sum(), 1) / np.diff(ends) + 1e-8 for count in counts)
    return float(scipy.stats.entropy(p, q))


def _demand_values(*samples: Values) -> None:
    if not all(len(values) for values in samples):
        raise ValueError("a sample is empty")


def perplexity(counts: Values) -> float:
    """exp(-sum p ln p) of the shares p of codes: K if all K are used alike, 1 if only one is.

    Args:
        counts: (K,) how often each code was seen; at least one is positive.
    """
    return float(np.exp(entr(counts / np.sum(counts)).sum()))


def used(counts: Values) -> float:
    """Share of the codes that were seen at all.

    Args:
        counts: (K,) how often each code was seen.
    """
    return float(np.mean(np.asarray(counts) > 0))


def multi_classifier(probabilities: NDArray[np.floating]) -> tuple[Array, Array]:
    """Negative log posteriors of K generators, the lowest is the closest to truth.

    Multi-model classifier test of Lim et al., arXiv:2211.11765, for jets in Buhmann et al., arXiv:2310.00049.

    Args:
        probabilities: (n, K), of n *real* jets that a classifier of the K generators' jets has not seen; at least 1e-12
            each before the logarithm.

    Returns:
        (K,) NLP_k = -mean ln p_k, ln K for all where the generators cannot be told apart; (K,) their standard errors.
    """
    logs = -np.log(np.maximum(np.asarray(probabilities, float), SMALLEST_PROBABILITY))
    return np.asarray(logs.mean(axis=0)), np.asarray(logs.std(axis=0, ddof=1) / np.sqrt(len(logs)))
