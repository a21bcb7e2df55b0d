"""Distances between samples against sorted differences, cases worked out by hand and expectations of random samples."""

import math
import warnings

import numpy as np
import pytest
from scipy.stats import norm

from jetloom.statistics.closeness import floor, kl, kl_density, multi_classifier, perplexity, used, wasserstein


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def generator():
    return np.random.default_rng(1)


def test_wasserstein_is_the_mean_difference_of_sorted_values(generator):
    one, other = generator.normal(80, 10, 500), generator.exponential(90, 500)
    expected = np.abs(np.sort(one) - np.sort(other)).mean()
    assert wasserstein(one, other) == pytest.approx(expected, rel=1e-12)
    assert wasserstein(one, np.repeat(other, 3)) == pytest.approx(expected, rel=1e-12)


def test_wasserstein_of_a_shift_is_the_shift(generator):
    one = generator.normal(80, 10, 501)
    assert wasserstein(one, generator.permutation(one) - 2.5) == pytest.approx(2.5, rel=1e-12)
    assert wasserstein(one, one) == 0


def test_wasserstein_of_different_sizes():
    """Area between the steps: |F - G| is 1/2 on (0, 1), 0 on (1, 3), 1/2 on (3, 5)."""
    assert wasserstein(np.array([0.0, 3.0]), np.array([1.0, 1.0, 5.0, 5.0])) == pytest.approx(1.5)


def test_floor_of_a_uniform_distribution(generator):
    """W1 of n and n uniform numbers is sqrt(pi / n) / 4 on average: the integral of the mean of |F_n - G_n|."""
    found = floor(generator.random(100_000), 400, splits=300)
    assert found.mean == pytest.approx(math.sqrt(math.pi / 400) / 4, rel=0.08)
    assert 0 < found.low < found.mean < found.high
    assert found.size == 400


def test_floor_covers_nine_of_ten_pairs(generator):
    found = floor(generator.normal(size=20_000), 200, splits=400)
    fresh = [wasserstein(generator.normal(size=200), generator.normal(size=200)) for _ in range(400)]
    inside = np.mean([found.low < value < found.high for value in fresh])
    assert inside == pytest.approx(0.9, abs=0.07)


def test_floor_of_few_values_takes_halves():
    """Three values out of seven and three others; of 0 and 1 there is one pair only."""
    assert floor(np.arange(7.0), 5).size == 3
    assert floor(np.array([0.0, 1.0]), 10) == (1.0, 1.0, 1.0, 1)
    with pytest.raises(ValueError, match="two values"):
        floor(np.array([1.0]), 10)


def test_floor_repeats_with_its_seed(generator):
    reference = generator.normal(size=1000)
    assert floor(reference, 100, seed=3) == floor(reference, 100, seed=3) != floor(reference, 100, seed=4)


def test_floor_samples_are_disjoint():
    """0, 1, 2, 3 split into pairs: W1 is 2 for 01|23 and 1 for the other two ways, never 0."""
    found = floor(np.arange(4.0), 2, splits=300)
    assert (found.low, found.high, found.size) == (1.0, 2.0, 2)
    assert found.mean == pytest.approx(4 / 3, abs=0.1)


def test_kl_of_two_bins_by_hand():
    """The edge is 2.5; one of four values below it: q = 1.5 / 5 and 3.5 / 5."""
    found = kl(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 30.0, 4.0, 5.0]), bins=2)
    assert found.value == pytest.approx(0.5 * math.log(0.5 / 0.3) + 0.5 * math.log(0.5 / 0.7), rel=1e-12)
    assert found.expected == pytest.approx(0.5 * (1 / 4 + 1 / 4))


def test_kl_of_identical_samples_is_zero(generator):
    for reference in (generator.normal(size=999), generator.poisson(35, 1000), generator.poisson(2, 50)):
        assert kl(reference, generator.permutation(reference)).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(20_000, 20_000), (20_000, 5_000), (4_000, 20_000)])
def test_kl_under_equality(generator, ours, theirs):
    values = [kl(generator.normal(size=ours), generator.normal(size=theirs)) for _ in range(200)]
    found = np.array([one.value for one in values])
    assert values[0].expected == pytest.approx(29 / 2 * (1 / ours + 1 / theirs))
    assert abs(found.mean() - values[0].expected) < 3 * found.std() / math.sqrt(len(found))


def test_kl_of_multiplicities_under_equality(generator):
    """Quantiles of a Poisson distribution repeat: as many bins as there are different edges."""
    values = [kl(generator.poisson(10, 10_000), generator.poisson(10, 10_000)) for _ in range(200)]
    found, expected = np.array(values).T
    assert 10 <= np.median(expected) * 10_000 + 1 <= 20
    assert abs(found.mean() - expected.mean()) < 3 * found.std() / math.sqrt(len(found))


def test_kl_of_shifted_normals(generator):
    """Fine bins of large samples come to the integral, half the squared shift; what is shared by a bin is lost."""
    number, shift = 400_000, 0.3
    tolerance = 4 * shift * math.sqrt(2 / number)  # ln(p / q) scatters by the shift
    reference, other = generator.normal(size=number), generator.normal(shift, 1, number)
    fine = kl(reference, other, bins=200)
    assert fine.value - fine.expected == pytest.approx(shift**2 / 2, abs=tolerance)
    shares = np.diff(norm.cdf(norm.ppf([0.25, 0.5, 0.75]) - shift), prepend=0, append=1)
    expected = np.sum(0.25 * np.log(0.25 / shares))
    assert expected < shift**2 / 2 - 2 * tolerance
    assert kl(reference, other, bins=4).value == pytest.approx(expected, abs=tolerance)


def test_kl_of_a_binary_quantity_by_hand():
    """Shares 0.7 and 0.3 of the reference in the two bins that remain; two of ten of the other are zero."""
    found = kl(np.repeat([0, 1], [70, 30]), np.repeat([0, 1], [2, 8]))
    shares = np.array([2 + 0.7, 8 + 0.3]) / 11
    assert found.value == pytest.approx(0.7 * math.log(0.7 / shares[0]) + 0.3 * math.log(0.3 / shares[1]), rel=1e-12)
    assert found.expected == pytest.approx(0.5 * (1 / 100 + 1 / 10))


def test_kl_is_finite_where_samples_do_not_meet():
    """One of B bins has all: p ln(p / q) with q = 1/2 / (n + B/2) in the others."""
    found = kl(np.arange(300.0), np.full(100, 1e6), bins=30)
    empty, full = 0.5 / 115, 100.5 / 115
    assert found.value == pytest.approx(29 / 30 * math.log(1 / 30 / empty) + 1 / 30 * math.log(1 / 30 / full))
    beyond = kl(np.repeat([3, 4], 50), np.full(100, 9)).value
    assert beyond == pytest.approx(math.log(0.5 / (0.5 / 101)))


def test_empty_samples_are_refused():
    for function in (kl, kl_density, wasserstein):
        with pytest.raises(ValueError):
            function(np.array([1.0, 2.0]), np.array([]))
        with pytest.raises(ValueError):
            function(np.array([]), np.array([1.0, 2.0]))


def test_kl_density_of_two_bins_by_hand():
    """Three edges at 0.1, 50 and 99.9 % of 0, 1, 11: bins (0.002, 1) and [1, 10.98], densities 0 and 1, 1 and 0."""
    reference, other = np.array([0.0, 1.0, 11.0]), np.array([0.5, 0.6, 5.0, 400.0])
    low, high = 0.998, 9.98
    p = np.array([0.0, 1 / high]) + 1e-8  # 0 and 11 lie outside, 1 is inside the second bin
    q = np.array([2 / 3 / low, 1 / 3 / high]) + 1e-8
    p, q = p / p.sum(), q / q.sum()
    assert kl_density(reference, other, edges=3) == pytest.approx(np.sum(p * np.log(p / q)), rel=1e-9)


def test_kl_density_against_its_formula(generator):
    """In closed form for an exponential against one twice as wide: densities at the quantiles of large samples."""
    probability = np.linspace(0.001, 0.999, 30)
    edges = -np.log1p(-probability)
    p = np.diff(probability) / np.diff(edges)
    q = np.diff(-np.expm1(-edges / 2)) / np.diff(edges)
    p, q = p / p.sum(), q / q.sum()
    found = kl_density(generator.exponential(1, 400_000), generator.exponential(2, 400_000), edges=30)
    assert found == pytest.approx(np.sum(p * np.log(p / q)), rel=0.03)
    assert kl_density(generator.exponential(1, 1000), np.full(10, -1.0)) > 0


def test_kl_density_of_itself_and_of_multiplicities(generator):
    counts = generator.poisson(20, 1000)
    assert kl_density(counts, generator.permutation(counts)) == pytest.approx(0, abs=1e-12)
    assert 0 < kl_density(counts, generator.poisson(22, 1000)) < 1
    assert math.isnan(kl_density(np.ones(5), np.ones(5)))


def test_perplexity_and_usage():
    assert perplexity(np.full(512, 3)) == pytest.approx(512)
    assert perplexity(np.array([0, 0, 7, 0])) == pytest.approx(1)
    assert perplexity(np.array([2, 1, 1])) == pytest.approx(2**1.5)
    assert used(np.array([0, 0, 7, 0])) == 0.25
    assert used(np.full(512, 3)) == 1


def test_multi_classifier_by_hand():
    found, error = multi_classifier(np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]))
    expected = [math.log(8) / 2, -(math.log(0.5) + math.log(0.75)) / 2, 12 * math.log(10)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(error, [math.log(2) / 2, math.log(1.5) / 2, 0], atol=1e-12)


def test_identical_generators_have_equal_posteriors(generator):
    """A classifier that is trained on three generators of one distribution, and one of another."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    label = np.repeat(np.arange(3), 4000)

    def scores(centers):
        jets = generator.normal(np.array(centers)[label, None], 1, (len(label), 2))
        classifier = linear_model.LogisticRegression().fit(jets, label)
        return multi_classifier(classifier.predict_proba(generator.normal(0, 1, (4000, 2))))[0]

    np.testing.assert_allclose(scores([0.0, 0.0, 0.0]), math.log(3), atol=0.02)
    worse = scores([0.0, 0.5, 2.0])
    assert worse[0] < worse[1] < worse[2]
