"""Metrics against scikit-learn, hand counts and closed forms."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, roc_auc_score, roc_curve

from jetloom.errors import JetloomError
from jetloom.statistics.bootstrap import bootstrap, resamples
from jetloom.tasks.classification import metrics


def sample(jets: int = 600, classes: int = 5, seed: int = 0, decimals: int | None = None):
    """Scores that favour the true class; with few decimals many of them tie."""
    generator = np.random.default_rng(seed)
    label = np.arange(jets) % classes
    generator.shuffle(label)
    logits = generator.normal(size=(jets, classes))
    logits[np.arange(jets), label] += 1.2
    scores = np.exp(logits)
    scores /= scores.sum(axis=1, keepdims=True)
    if decimals is not None:
        scores = np.round(scores, decimals)
    return scores, label


def value(statistic, jets):
    return statistic(np.ones((1, jets)))[0]


def test_accuracy_loss_and_confusion_are_those_of_scikit_learn():
    scores, label = sample()
    jets = len(label)
    assert value(metrics.accuracy(scores, label), jets) == pytest.approx(accuracy_score(label, scores.argmax(1)))
    assert value(metrics.cross_entropy(scores, label), jets) == pytest.approx(log_loss(label, scores))
    expected = confusion_matrix(label, scores.argmax(1))
    np.testing.assert_array_equal(metrics.confusion_counts(scores, label), expected)


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("classes", [2, 5])
def test_macro_auc_is_that_of_scikit_learn_with_and_without_ties(classes, decimals):
    scores, label = sample(classes=classes, decimals=decimals)
    ours = value(metrics.macro_auc(scores, label), len(label))
    # scikit-learn wants rows that add up to one, which rounding breaks: average its binary AUCs.
    pairs = [
        roc_auc_score(label[chosen] == a, scores[chosen, a])
        for a in range(classes)
        for b in range(classes)
        if a != b and (chosen := np.isin(label, [a, b])).any()
    ]
    assert ours == pytest.approx(np.mean(pairs))
    if decimals is None and classes > 2:
        assert ours == pytest.approx(roc_auc_score(label, scores, multi_class="ovo", average="macro"))


def test_weights_mean_repeated_jets():
    """A statistic with weights is the statistic of the sample in which jets appear that often."""
    scores, label = sample(jets=200, decimals=2)
    weights = np.random.default_rng(1).integers(0, 4, len(label)).astype(float)
    repeated = np.repeat(np.arange(len(label)), weights.astype(int))
    for build in (
        metrics.accuracy,
        metrics.macro_auc,
        metrics.cross_entropy,
        lambda s, y: metrics.background_efficiency(s, y, 1, 0, np.array([0.3, 0.5, 0.77, 1.0])),
        lambda s, y: metrics.background_efficiency(s, y, 1, None, np.array([0.3, 0.5, 0.77, 1.0])),
    ):
        weighted = build(scores, label)(weights[None])[0]
        np.testing.assert_allclose(weighted, value(build(scores[repeated], label[repeated]), len(repeated)), atol=1e-9)


def test_background_efficiency_by_hand():
    """Four signal jets, five background jets; two classes, so the discriminant is the score."""
    signal = np.array([0.9, 0.8, 0.6, 0.4])
    background = np.array([0.85, 0.7, 0.5, 0.3, 0.1])
    own = np.concatenate([signal, background])
    scores = np.stack([1 - own, own], axis=1)
    label = np.array([1] * 4 + [0] * 5)
    efficiencies = np.array([0.25, 0.5, 0.75, 1.0, 0.625, 0.125])
    result = value(metrics.background_efficiency(scores, label, 1, 0, efficiencies), 9)
    # 1, 2, 3, 4 signal jets keep 0, 1, 2, 3 background jets; between them linear.
    np.testing.assert_allclose(result, [0, 0.2, 0.4, 0.6, 0.3, 0], atol=1e-9)


def test_background_efficiency_is_the_lower_edge_of_the_roc_curve():
    scores, label = sample(jets=1000, classes=4)
    chosen = np.isin(label, [0, 2])
    ratio = scores[chosen, 2] / (scores[chosen, 2] + scores[chosen, 0])
    false, true, _ = roc_curve(label[chosen] == 2, ratio, drop_intermediate=False)
    nodes = np.unique(true)[1:]
    lowest = np.array([false[true == node].min() for node in nodes])
    ours = value(metrics.background_efficiency(scores, label, 2, 0, nodes), len(label))
    np.testing.assert_allclose(ours, lowest, atol=1e-9)


def test_rejection_of_two_gaussians_is_the_closed_form():
    """Signal N(d, 1), background N(0, 1): eps_B = 1 - Phi(Phi^-1(1 - eps_S) + d)."""
    distance, jets = 1.5, 400_000
    generator = np.random.default_rng(2)
    x = np.concatenate([generator.normal(size=jets), generator.normal(distance, 1, size=jets)])
    # Log-likelihood ratio of the two, as a two-class score.
    own = 1 / (1 + np.exp(-(distance * x - distance**2 / 2)))
    label = np.repeat([0, 1], jets)
    efficiencies = np.array([0.3, 0.5, 0.8, 0.99])
    ours = value(metrics.background_efficiency(np.stack([1 - own, own], axis=1), label, 1, 0, efficiencies), 2 * jets)
    expected = norm.sf(norm.isf(efficiencies) + distance)
    np.testing.assert_allclose(1 / ours, 1 / expected, rtol=0.02)


def test_mean_rejection_is_that_of_scikit_learns_nearest_point():
    scores, label = sample(classes=5, jets=3000)
    expected = []
    for signal in (2, 3, 4):
        kept = np.isin(label, [0, 1, signal])
        false, true, _ = roc_curve(label[kept] == signal, scores[kept, signal], drop_intermediate=False)
        expected.append(1 / false[np.abs(true - 0.8).argmin()])
    statistic = metrics.mean_rejection(scores, label, [2, 3, 4], 0.8)
    assert statistic(np.ones((1, len(label))))[0] == pytest.approx(np.mean(expected))
    # The same jets twice, or each with weight two.
    again = metrics.mean_rejection(np.tile(scores, (2, 1)), np.tile(label, 2), [2, 3, 4], 0.8)
    assert again(np.ones((1, 2 * len(label))))[0] == pytest.approx(statistic(np.full((1, len(label)), 2.0))[0])


def test_mean_rejection_needs_signals_and_background():
    scores, label = sample(classes=2, jets=20)
    with pytest.raises(JetloomError, match="working point"):
        metrics.mean_rejection(scores, label, [0, 1], 0.8)


def test_discriminant_of_scores_that_underflow():
    scores = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.25, 0.75, 0.0]])
    np.testing.assert_allclose(metrics.discriminant(scores, 1, 0), [0.5, 1, 0, 0.75])


def test_same_value_for_all_monotone_transformations():
    """Only the order of the discriminant counts."""
    scores, label = sample(classes=2)
    grid = metrics.efficiency_grid()
    powers = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    first, second = (value(metrics.background_efficiency(s, label, 1, 0, grid), len(label)) for s in (scores, powers))
    np.testing.assert_allclose(first, second)
    assert np.all(np.diff(first) >= -1e-12), "more signal never means less background"
    assert len(grid) <= 200


def test_samples_of_ten_classes_sort_nothing(monkeypatch):
    """Everything is sorted once, whatever the number of samples: a weight of each jet only adds up."""
    scores, label = sample(jets=3000, classes=10)
    sorts = []
    argsort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda *args, **options: sorts.append(1) or argsort(*args, **options))
    grid = metrics.efficiency_grid()
    statistics = {"auc": metrics.macro_auc(scores, label), "accuracy": metrics.accuracy(scores, label)}
    for signal in range(1, 10):
        statistics[str(signal)] = metrics.background_efficiency(scores, label, signal, 0, grid)
    assert len(sorts) == 10 + 2 * 9
    results = bootstrap(statistics, label, 20)
    # One more for the jets by class, which is how they are drawn.
    assert len(sorts) == 10 + 2 * 9 + 1
    assert results["auc"][1].shape == (20,)
    assert results["9"][1].shape == (20, len(grid))


def test_resamples_keep_the_classes_and_do_not_depend_on_chunks(monkeypatch):
    _, label = sample(jets=100, classes=4)
    whole = np.concatenate(list(resamples(label, 50, seed=3)))
    assert whole.shape == (50, 100)
    for index in range(4):
        np.testing.assert_array_equal(whole[:, label == index].sum(axis=1), (label == index).sum())
    monkeypatch.setattr("jetloom.statistics.bootstrap._CELLS", 700)
    np.testing.assert_array_equal(np.concatenate(list(resamples(label, 50, seed=3))), whole)
    # Each jet is drawn once on average, with the variance of a multinomial.
    many = np.concatenate(list(resamples(label, 4000, seed=4)))
    assert many.mean(axis=0) == pytest.approx(1, abs=0.08)
    assert many.var() == pytest.approx(1 - 1 / 25, abs=0.02)


def test_a_class_without_jets_is_an_error_that_names_it():
    scores, label = sample(classes=3)
    with pytest.raises(JetloomError, match="no jets of third"):
        metrics.check(scores[label < 2], label[label < 2], ["first", "second", "third"])
    scores[7, 1] = math.nan
    with pytest.raises(JetloomError, match="the first is jet 7"):
        metrics.check(scores, label, ["a", "b", "c"])
