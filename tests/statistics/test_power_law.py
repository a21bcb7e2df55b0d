"""Power laws whose parameters are known."""

import numpy as np
import pytest

from jetloom.statistics.power_law import EXPONENTS, PowerLaw, fit, fit_over_seeds

# Parameters of L-GATr-slim in five sizes, and the laws of the loss that arXiv:2608.02735 prints.
SIZES = np.array([46_066, 269_338, 1_421_482, 8_487_754, 47_995_786.0])
PRINTED = {
    "L-GATr": (0.37235, 50.3, 0.624),
    "slim": (0.37052, 19.9, 0.543),
    "LLoCa": (0.37556, 37.5, 0.597),
    "ParT": (0.37156, 11.1, 0.448),
    "Transformer": (0.40279, 110.6, 0.691),
}
SLIM = PowerLaw(*PRINTED["slim"])


@pytest.mark.parametrize("law", PRINTED.values(), ids=PRINTED)
@pytest.mark.parametrize("points", [4, 5])
def test_printed_laws_are_found_again(law, points):
    x = SIZES[:points]
    assert fit(x, PowerLaw(*law)(x)) == pytest.approx(law, rel=1e-3)


@pytest.mark.parametrize("law", [(0.0, 30.0, 0.3), (0.1, 1e7, 1.2), (2.0, 5.0, 0.08)])
def test_other_laws_and_units(law):
    """The unit of x only changes B, and the order of the points nothing."""
    y = PowerLaw(*law)(SIZES)
    limit, scale, exponent = fit(SIZES, y)
    # With no limit there is a flat direction, along which rounding moves it.
    assert limit == pytest.approx(law[0], rel=1e-3, abs=1e-5)
    assert exponent == pytest.approx(law[2], rel=1e-3)
    assert fit(SIZES[::-1], y[::-1]) == pytest.approx((limit, scale, exponent))
    in_millions = fit(SIZES / 1e6, y)
    assert in_millions == pytest.approx((limit, scale * 1e6**-exponent, exponent), rel=1e-3, abs=1e-5)


def test_it_is_the_least_sum_of_squared_relative_residuals():
    """No step away from it, in any parameter, is better."""
    generator = np.random.default_rng(3)
    y = SLIM(SIZES) * (1 + 2e-3 * generator.normal(size=5))
    law = fit(SIZES, y)

    def squares(limit, scale, exponent):
        return np.sum((PowerLaw(limit, scale, exponent)(SIZES) / y - 1) ** 2)

    best = squares(*law)
    for place in range(3):
        for factor in (1 - 1e-3, 1 + 1e-3):
            moved = [value * (factor if index == place else 1) for index, value in enumerate(law)]
            assert squares(*moved) > best


@pytest.mark.parametrize(
    "y",
    [
        np.full(5, 0.4),
        np.array([0.4, 0.41, 0.42, 0.43, 0.44]),
        np.array([0.9, 0.4, 0.4, 0.4, 0.4]),
    ],
    ids=["flat", "rising", "a step"],
)
def test_what_is_no_power_law(y):
    assert fit(SIZES, y) is None
    assert fit_over_seeds(SIZES, [[value, value] for value in y]) is None


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3], [3, 2, 1]),
        ([1, 2, 3, 3], [4, 3, 2, 1]),
        ([1, 2, 3, 4], [4, 3, 2]),
        ([0, 1, 2, 3], [4, 3, 2, 1]),
        ([1, 2, 3, 4], [4, 3, 2, 0]),
        ([1, 2, 3, 4], [4, 3, 2, float("nan")]),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, y):
    with pytest.raises(ValueError, match=r"a fit needs 4|positive numbers"):
        fit(x, y)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Of 80 studies of three seeds, 68 % (54.4 of them, standard deviation 4.2) should hold the truth."""
    generator, held, studies, far = np.random.default_rng(8), np.zeros(4), 80, [1e9]
    for study in range(studies):
        seeds = [value * (1 + 1e-3 * generator.normal(size=3)) for value in SLIM(SIZES)]
        found = fit_over_seeds(SIZES, seeds, resamplings=40, seed=study)
        ends = [*found.intervals(0.68), np.ravel(found.band(far, 0.68))]
        held += [low <= truth <= high for (low, high), truth in zip(ends, [*SLIM, SLIM(far)[0]], strict=True)]
    assert np.all((held > 0.55 * studies) & (held < 0.8 * studies)), held / studies


def test_the_bootstrap_repeats_itself_and_needs_two_seeds():
    seeds = [value * np.array([0.999, 1.0, 1.002]) for value in SLIM(SIZES)]
    first, second = (fit_over_seeds(SIZES, seeds, resamplings=20) for _ in range(2))
    assert first == second
    assert all(EXPONENTS[0] <= sample.exponent <= EXPONENTS[1] for sample in first.samples)
    low, high = first.band(SIZES, 0.68)
    assert np.all(low < high)
    alone = fit_over_seeds(SIZES, [seeds[0][:1], *seeds[1:]])
    assert alone.law == pytest.approx(first.law, rel=0.2)
    assert alone.intervals(0.68) is None and alone.band(SIZES, 0.68) is None
