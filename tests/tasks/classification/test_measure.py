"""Intervals: coverage, and what happens where hardly any background is left."""

import json

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from jetloom.statistics.bootstrap import binomial_interval, wilson_interval
from jetloom.tasks.classification.measure import figures_of_merit, rejection

CLASSES = ["QCD", "Hbb"]


def gaussians(jets: int, distance: float, generator: np.random.Generator):
    """Two classes whose optimal score is known; distance in standard deviations."""
    label = np.repeat([0, 1], jets)
    x = generator.normal(size=2 * jets) + distance * label
    own = 1 / (1 + np.exp(-(distance * x - distance**2 / 2)))
    return np.stack([1 - own, own], axis=1), label


def merit(scores, label, resamplings=200, confidence=0.68, **changes):
    arguments = {"classes": CLASSES, "background": "QCD", "working_points": {"Hbb": 0.5}} | changes
    return figures_of_merit(scores, label, resamplings=resamplings, confidence=confidence, **arguments)


@pytest.mark.seconds
def test_intervals_cover_the_truth_as_often_as_they_say():
    """68 % intervals of accuracy, AUC and rejection over 150 independent samples."""
    distance, generator = 1.5, np.random.default_rng(5)
    truth = {
        "accuracy": norm.cdf(distance / 2),
        "auc": norm.cdf(distance / np.sqrt(2)),
        "rejection": 1 / norm.sf(distance),
    }
    trials = 150
    inside = dict.fromkeys(truth, 0)
    for _ in range(trials):
        values = merit(*gaussians(500, distance, generator), resamplings=100)["values"]
        for name, expected in truth.items():
            figure = values[name] if name != "rejection" else values["rejection"]["Hbb"]
            inside[name] += figure["low"] <= expected <= figure["high"]
    for name, count in inside.items():
        # Three standard deviations of a binomial with p = 0.68, n = 150 are 0.114; percentiles are a little narrow.
        assert 0.55 < count / trials < 0.81, (name, count / trials)


def test_value_lies_in_its_interval_and_all_is_json():
    content = merit(*gaussians(300, 2.0, np.random.default_rng(1)))
    json.dumps(content, allow_nan=False)
    for name in ("accuracy", "auc", "loss"):
        figure = content["values"][name]
        assert figure["low"] <= figure["value"] <= figure["high"]
    figure = content["values"]["rejection"]["Hbb"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert figure["background_passing"] == pytest.approx(300 / figure["value"], rel=1e-3)
    assert np.sum(content["confusion"]) == 600
    curve = content["roc"]["Hbb"]
    lengths = {len(curve[key]) for key in ("signal_efficiency", "background_efficiency", "low", "high")}
    assert lengths == {len(curve["signal_efficiency"])}
    assert len(curve["signal_efficiency"]) <= 200


def test_no_survivor_gives_a_lower_limit_and_no_value():
    scores, label = gaussians(100, 12.0, np.random.default_rng(2))
    figure = merit(scores, label)["values"]["rejection"]["Hbb"]
    assert figure["value"] is None
    assert figure["high"] is None
    assert figure["background_passing"] == 0
    # Clopper-Pearson with 0 of 100 at 68 %: 1 - 0.16^(1/100).
    assert figure["low"] == pytest.approx(1 / (1 - 0.16 ** (1 / 100)))


def test_few_survivors_widen_the_interval():
    """Three of 300: the bootstrap samples hold between none and seven, the exact interval is never narrower."""
    samples = np.random.default_rng(3).binomial(300, 0.01, 500) / 300
    figure = rejection(0.01, samples, 300, 0.68)
    low, high = binomial_interval(3, 300, 0.68)
    assert figure["low"] <= 1 / high
    assert figure["high"] >= 1 / low
    assert figure["interval"] == "bootstrap and Clopper-Pearson"
    assert rejection(0.1, samples * 10, 300, 0.68)["interval"] == "bootstrap"


@pytest.mark.parametrize(("passed", "total"), [(0, 50), (1, 50), (7, 300), (50, 50)])
def test_binomial_interval_is_that_of_the_beta_quantiles(passed, total):
    low, high = binomial_interval(passed, total, 0.9)
    assert low == pytest.approx(beta.ppf(0.05, passed, total - passed + 1) if passed else 0)
    assert high == pytest.approx(beta.ppf(0.95, passed + 1, total - passed) if passed < total else 1)


@pytest.mark.parametrize(
    ("passed", "total"), [(0, 1), (1, 1), (3, 7), (0, 50), (50, 50), (611, 3000), (10**6 - 1, 10**6)]
)
def test_wilsons_interval_is_that_of_scipy(passed, total):
    expected = binomtest(passed, total).proportion_ci(2 * norm.cdf(1) - 1, method="wilson")
    assert wilson_interval(passed, total) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def test_without_working_points_there_is_no_rejection():
    scores, label = gaussians(100, 2.0, np.random.default_rng(4))
    content = merit(scores, label, background=None, working_points={})
    assert content["roc"] == {}
    assert content["values"]["rejection"] == {}


def test_without_background_class_all_others_are_background():
    generator = np.random.default_rng(6)
    label = np.arange(900) % 3
    scores = generator.dirichlet([1, 1, 1], 900)
    scores[np.arange(900), label] += 0.5
    scores /= scores.sum(axis=1, keepdims=True)
    content = figures_of_merit(
        scores, label, classes=["a", "b", "c"], background=None, working_points={"b": 0.8}, resamplings=20,
        confidence=0.68,
    )  # fmt: skip
    cut = np.sort(scores[label == 1, 1])[::-1][239]
    passing = (scores[label != 1, 1] >= cut).sum()
    assert content["values"]["rejection"]["b"]["value"] == pytest.approx(600 / passing, rel=1e-4)


def test_same_seed_same_intervals():
    scores, label = gaussians(200, 1.0, np.random.default_rng(7))
    assert merit(scores, label) == merit(scores, label)


def test_without_a_working_point_there_is_no_rejection_of_any_kind():
    """An experiment asks for the mean rejection of all its data sets, shapes among them."""
    scores, label = gaussians(200, 1.0, np.random.default_rng(7))
    plain, asked = (merit(scores, label, working_points={}, mean_rejection=value)["values"] for value in (None, 0.8))
    assert asked == plain and "rejection_mean" not in asked and asked["rejection"] == {}


def test_further_efficiencies_and_the_mean_rejection_have_intervals():
    scores, label = gaussians(2000, 2.0, np.random.default_rng(3))
    content = merit(scores, label, resamplings=50, efficiencies=[0.5, 0.8], mean_rejection=0.8)
    values = content["values"]
    assert values["rejection_at"]["Hbb"][0] == values["rejection"]["Hbb"], "the working point again"
    at_80 = values["rejection_at"]["Hbb"][1]
    assert at_80["efficiency"] == 0.8
    # Closed form: eps_B = 1 - Phi(d - z), with z the quantile of 0.8.
    assert at_80["low"] < 1 / norm.sf(2.0 - norm.ppf(0.8)) < at_80["high"]
    mean = values["rejection_mean"]
    assert mean["value"] == pytest.approx(at_80["value"], rel=0.02), (
        "one signal class: the nearest point of the same curve"
    )
    assert mean["low"] < mean["value"] < mean["high"]
    json.dumps(content, allow_nan=False)
    assert len(content["roc"]["Hbb"]["low"]) == len(content["roc"]["Hbb"]["signal_efficiency"])
