"""How a figure of merit falls with size: a power law over a limit, y = L_inf + B / x^beta.

The form, and its B, are those of the size study (Favaro, Plehn, Qu, Spinner, arXiv:2608.02735); (B^(1/beta) / x)^beta
is the same curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize.elementwise import find_minimum

from jetloom.statistics import Array
from jetloom.statistics.bootstrap import interval

LEAST = 4
"""Points: one more than the law has parameters."""
EXPONENTS = (0.02, 5.0)
"""Between which beta is looked for; beyond them a few points can tell a power from a logarithm or a step no more."""
SMALLEST_FALL = 1e-9
"""Of a curve over its points, as a share of the largest value; less is rounding."""
STEPS = 29
"""Exponents from which the search starts."""


class PowerLaw(NamedTuple):
    """y = limit + scale / x^exponent."""

    limit: float
    """L_inf >= 0, what is left at infinite size."""
    scale: float
    """B >= 0."""
    exponent: float
    """beta > 0."""

    def __call__(self, x: ArrayLike) -> Array:
        """The curve at sizes x, of any shape."""
        return np.asarray(self.limit + self.scale * np.power(np.asarray(x, float), -self.exponent))


@dataclass(frozen=True)
class Fitted:
    """A law and how far other seeds would have moved it."""

    law: PowerLaw
    samples: tuple[PowerLaw, ...] = ()
    """Of the bootstrap; empty: some point has one seed only, so that nothing is known of their scatter."""

    def intervals(self, confidence: float) -> Array | None:
        """(3, 2): low and high of limit, scale and exponent; None: unknown."""
        return np.transpose(interval(np.array(self.samples), confidence)) if self.samples else None

    def band(self, x: ArrayLike, confidence: float) -> tuple[Array, Array] | None:
        """Ends of the interval of the curve at each of the sizes x; None: unknown."""
        if not self.samples:
            return None
        return interval(np.array([sample(x) for sample in self.samples]), confidence)


def fit(x: ArrayLike, y: ArrayLike) -> PowerLaw | None:
    """The law with the least sum of squared relative residuals, ((law(x) - y) / y)^2.

    At a given beta the law is linear in L_inf and B, which linear least squares finds; so beta alone is searched, and
    no start value decides.

    Args:
        x: (n,) sizes, at least ``LEAST`` different ones, all positive.
        y: (n,) values, all positive.

    Returns:
        None where the points do not fall as a power law does: beta at an end of ``EXPONENTS``, or no fall.

    Raises:
        ValueError: too few different sizes, other lengths, or a number that is not positive.
    """
    sizes, values = np.asarray(x, float), np.asarray(y, float)
    if sizes.shape != values.shape or len(np.unique(sizes)) < LEAST:
        raise ValueError(f"{len(np.unique(sizes))} different sizes and {len(values)} values: a fit needs {LEAST}")
    if not (np.all(sizes > 0) and np.all(values > 0) and np.all(np.isfinite([*sizes, *values]))):
        raise ValueError("a power law is fitted to positive numbers")
    (law,) = _fits(sizes, values[None])
    inside = EXPONENTS[0] * 1.01 < law.exponent < EXPONENTS[1] / 1.01
    falls = law(sizes.min()) - law(sizes.max()) > SMALLEST_FALL * values.max()
    return law if inside and falls else None


def fit_over_seeds(x: ArrayLike, seeds: Sequence[ArrayLike], resamplings: int = 200, seed: int = 0) -> Fitted | None:
    """The law of the means over seeds, with a bootstrap over the seeds of each point.

    n deviations from a mean are sqrt((n - 1) / n) too small on average; they are stretched by as much, without which
    three seeds would make intervals that are a fifth too narrow.

    Args:
        x: (n,) sizes.
        seeds: n times (k_i,), the values of all seeds at a size.
        resamplings: bootstrap samples.
        seed: of the samples.

    Returns:
        None as :func:`fit`.

    Raises:
        ValueError: as :func:`fit`.
    """
    sizes, values = np.asarray(x, float), [np.asarray(item, float) for item in seeds]
    means = np.array([item.mean() for item in values])
    law = fit(sizes, means)
    if law is None or min(len(item) for item in values) < 2:
        return law and Fitted(law)
    generator = np.random.default_rng(seed)
    drawn = np.stack([_resampled_means(item, resamplings, generator) for item in values], axis=1)
    # A sample that falls below zero would have no relative residual; it stands for a value near it.
    return Fitted(law, tuple(_fits(sizes, np.maximum(drawn, 1e-3 * means))))


def _resampled_means(values: Array, number: int, generator: np.random.Generator) -> Array:
    """(number,) means of as many seeds, drawn with replacement."""
    mean, count = values.mean(), len(values)
    drawn = generator.choice(values - mean, (number, count)).mean(axis=1)
    return np.asarray(mean + np.sqrt(count / (count - 1)) * drawn)


def _fits(x: Array, y: Array) -> list[PowerLaw]:
    """The best law of each of m samples y (m, n) at sizes x (n,), with beta inside ``EXPONENTS`` or at an end."""
    middle = float(np.exp(np.log(x).mean()))
    ratio = np.log(x / middle)

    def squares(logarithm: Array, sample: Array) -> Array:
        return _linear(np.exp(logarithm), ratio, y[sample.astype(int)])[2]

    samples = np.arange(len(y), dtype=float)
    grid = np.log(np.geomspace(*EXPONENTS, STEPS))
    place = np.argmin(np.stack([squares(np.full(len(y), point), samples) for point in grid]), axis=0)
    inside = (place > 0) & (place < STEPS - 1)
    best = grid[place]
    if inside.any():
        around = tuple(grid[place[inside] + step] for step in (-1, 0, 1))
        best[inside] = find_minimum(squares, around, args=(samples[inside],), tolerances={"xatol": 1e-7}).x
    exponents = np.exp(best)
    limits, amplitudes, _ = _linear(exponents, ratio, y)
    return [PowerLaw(*map(float, law)) for law in zip(limits, amplitudes * middle**exponents, exponents, strict=True)]


def _linear(exponent: Array, ratio: Array, y: Array) -> tuple[Array, Array, Array]:
    """L_inf >= 0, A >= 0 and the sum of squares of (L_inf + A exp(-beta ratio)) / y - 1, each (m,), for m samples.

    Two columns, a = 1 / y and b = exp(-beta ratio) / y: the normal equations, and the best of one column alone where
    they give a negative number.
    """
    a, b = 1 / y, np.exp(-exponent[:, None] * ratio) / y
    aa, ab, bb, a1, b1 = ((one * other).sum(axis=1) for one, other in ((a, a), (a, b), (b, b), (a, 1), (b, 1)))
    determinant = aa * bb - ab**2
    limit, amplitude = (bb * a1 - ab * b1) / determinant, (aa * b1 - ab * a1) / determinant
    falls = amplitude > 0
    amplitude = np.where(falls, np.where(limit > 0, amplitude, b1 / bb), 0.0)
    limit = np.where(falls, np.maximum(limit, 0.0), a1 / aa)
    return limit, amplitude, ((limit[:, None] * a + amplitude[:, None] * b - 1) ** 2).sum(axis=1)
