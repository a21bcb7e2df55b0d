"""Samples in groups of jets against samples with a weight for each jet."""

import json

import numpy as np
import pytest
from scipy.stats import ks_2samp

from jetloom.errors import JetloomError
from jetloom.statistics.bootstrap import bootstrap
from jetloom.tasks.classification import grouped, metrics
from jetloom.tasks.classification import measure as module
from jetloom.tasks.classification.grouped import Grouped
from jetloom.tasks.classification.influence import auc_and_influence
from jetloom.tasks.classification.measure import figures_of_merit

SAMPLES = 1000
EFFICIENCIES = np.array([0.05, 0.3, 0.5, 0.8, 0.99])


def sample(jets: int = 4000, classes: int = 5, decimals: int | None = None, uneven: bool = False):
    """Scores that favour the true class, as a network gives them; with few decimals many of them tie."""
    generator = np.random.default_rng(jets + classes)
    label = generator.integers(0, classes, jets)
    if uneven:
        label = np.minimum(generator.geometric(0.6, jets) - 1, classes - 1)
    logits = 1.5 * generator.normal(size=(jets, classes))
    logits[np.arange(jets), label] += 1.5
    scores = np.exp(logits)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return (scores if decimals is None else np.round(scores, decimals)), label.astype(np.int16)


def both(scores, label, against: int | None):
    """By figure, value and samples of either way."""
    signals = list(range(2, scores.shape[1]))
    by_jet = {
        "accuracy": metrics.accuracy(scores, label),
        "loss": metrics.cross_entropy(scores, label),
        "auc": metrics.macro_auc(scores, label),
        "roc": metrics.background_efficiency(scores, label, 2, against, EFFICIENCIES),
        "mean rejection": metrics.mean_rejection(scores, label, signals, 0.8),
    }
    groups = Grouped(scores, label, SAMPLES, seed=2)
    in_groups = {
        "accuracy": groups.accuracy(),
        "loss": groups.cross_entropy(),
        "auc": groups.macro_auc(),
        "roc": groups.background_efficiency(2, against, EFFICIENCIES),
        "mean rejection": groups.mean_rejection(signals, 0.8),
    }
    return bootstrap(by_jet, label, SAMPLES, seed=1), in_groups


def same_distribution(first: np.ndarray, second: np.ndarray) -> None:
    """No column tells the two samples apart (Kolmogorov-Smirnov); the seeds are fixed."""
    assert first.shape == second.shape
    for one, other in zip(np.atleast_2d(first.T), np.atleast_2d(second.T), strict=True):
        assert ks_2samp(one, other).pvalue > 1e-3


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("arguments", "against"),
    [({}, 0), ({"decimals": 2, "classes": 4}, None), ({"uneven": True, "classes": 4}, None)],
    ids=["background class", "ties, against all", "uneven classes"],
)
def test_same_values_and_the_same_distribution_of_samples(arguments, against):
    by_jet, in_groups = both(*sample(**arguments), against)
    for name, (value, samples) in by_jet.items():
        # The loss is the same sum in another order.
        np.testing.assert_allclose(in_groups[name][0], value, rtol=1e-14 if name == "loss" else 0, err_msg=name)
        same_distribution(samples, in_groups[name][1])


@pytest.mark.seconds
def test_as_few_groups_as_a_large_set_has_for_its_spread(monkeypatch):
    """With 2M jets of a class the 20,000 cuts are 100 jets apart, 7 % of the square root of the jets; so here."""
    monkeypatch.setattr(grouped, "CUTS", 200)
    monkeypatch.setattr(grouped, "MEAN_GROUPS", 200)
    by_jet, in_groups = both(*sample(), 0)
    for name, (value, samples) in by_jet.items():
        np.testing.assert_allclose(in_groups[name][0], value, rtol=1e-14, err_msg=name)
        same_distribution(samples, in_groups[name][1])


def test_influences_add_up_to_the_area():
    scores, label = sample(decimals=2)
    area, influence = auc_and_influence(lambda index: scores[:, index], label)
    means = [influence[label == index].mean() for index in range(5)]
    assert sum(means) == pytest.approx(2 * area, rel=1e-12)
    # One jet more of a class moves the area by its influence over that of the class, up to the second order.
    for jet in (0, 17, 2500):
        weights = np.ones((1, len(label)))
        weights[0, jet] += 1e-5
        moved = metrics.macro_auc(scores, label)(weights)[0]
        size = (label == label[jet]).sum()
        assert (moved - area) / 1e-5 == pytest.approx((influence[jet] - means[label[jet]]) / size, rel=1e-3, abs=1e-9)


def test_perfect_separation_has_no_spread_and_no_rejection():
    label = np.arange(3000) % 3
    scores = np.full((3000, 3), 0.1)
    scores[np.arange(3000), label] = 0.8
    groups = Grouped(scores, label, 50)
    for value, samples in (groups.accuracy(), groups.macro_auc()):
        assert value == pytest.approx(1)
        np.testing.assert_allclose(samples, 1)
    assert groups.mean_rejection([1, 2], 0.5)[0] == np.inf
    np.testing.assert_array_equal(groups.background_efficiency(1, 0, EFFICIENCIES)[1], 0)
    with pytest.raises(JetloomError, match="working point"):
        groups.mean_rejection([0, 1, 2], 0.5)


@pytest.mark.seconds
def test_a_large_set_has_all_figures_of_a_small_one(monkeypatch):
    scores, label = sample()
    names = list("abcde")
    arguments = {
        "classes": names, "background": "a", "working_points": {"c": 0.5, "d": 0.8}, "resamplings": 400,
        "confidence": 0.68, "efficiencies": [0.3], "mean_rejection": 0.6,
    }  # fmt: skip
    small = figures_of_merit(scores, label, **arguments)
    monkeypatch.setattr(module, "LARGE", 100)
    large = figures_of_merit(scores, label, **arguments)
    assert large == figures_of_merit(scores, label, **arguments), "same seed, same samples"
    json.dumps(large, allow_nan=False)
    assert small.keys() == large.keys()
    assert {key: small[key] for key in ("jets", "per_class", "confusion")} == {
        key: large[key] for key in ("jets", "per_class", "confusion")
    }
    for name in ("accuracy", "auc", "rejection_mean"):
        one, other = small["values"][name], large["values"][name]
        assert one["value"] == other["value"]
        width = one["high"] - one["low"]
        # An end of a 68 % interval from 400 samples is uncertain by 0.037 of it, twice that between two of them.
        for end in ("low", "high"):
            assert other[end] == pytest.approx(one[end], abs=0.15 * width)
    for name in ("c", "d"):
        for key in ("signal_efficiency", "background_efficiency"):
            assert small["roc"][name][key] == large["roc"][name][key]
        one, other = (content["values"]["rejection"][name] for content in (small, large))
        assert {key: one[key] for key in one if key not in ("low", "high")} == {
            key: other[key] for key in other if key not in ("low", "high")
        }


@pytest.mark.seconds
def test_nothing_but_scores_and_a_few_columns_is_held():
    """Bytes for each jet at the peak beside the scores; numpy tells tracemalloc what it allocates."""
    import tracemalloc

    scores, label = sample(jets=200_000, classes=10)
    tracemalloc.start()
    try:
        groups = Grouped(scores, label, 2)
        groups.accuracy(), groups.cross_entropy(), groups.macro_auc()
        groups.background_efficiency(2, None, EFFICIENCIES)
        groups.mean_rejection([2, 3, 4, 5], 0.8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 20M jets may take 4 GB, 840 MB of which are scores and labels.
    assert peak / len(label) < 100
