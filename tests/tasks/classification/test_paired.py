"""Paired tests against SciPy, scikit-learn and the bootstrap."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, chi2
from sklearn.metrics import roc_auc_score

from jetloom.errors import JetloomError
from jetloom.report.papers.rebuilt import garwood
from jetloom.statistics.bootstrap import resamples
from jetloom.tasks.classification.metrics import macro_auc
from jetloom.tasks.classification.paired import (
    auc_difference,
    auc_influence,
    check_same_jets,
    mcnemar,
    survivors_of_one,
)
from jetloom.tasks.classification.scores import Scores
from tests.report.fabricate import predicted

Scored = tuple[np.ndarray, np.ndarray]


def scored(seed: int, classes: int = 3, jets: int = 900, skill: float = 1.0, shared: float = 1.0) -> Scored:
    """Scores and labels of a model; those of two seeds have ``shared`` of their noise in common."""
    label = np.arange(jets) % classes
    noise = shared * np.random.default_rng(0).normal(size=(jets, classes))
    noise += np.random.default_rng(seed).normal(size=(jets, classes))
    logits = noise + skill * np.eye(classes)[label]
    scores = np.exp(logits)
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), label


@pytest.fixture
def stored(tmp_path):
    """From scores and labels to the predictions in a file of their own."""
    names = itertools.count()
    return lambda scores, label: predicted(tmp_path / f"{next(names)}.parquet", scores, label)


@pytest.mark.parametrize(("first_only", "second_only"), [(0, 0), (3, 3), (9, 2), (1, 14), (400, 350)])
def test_mcnemar_is_the_exact_binomial_test(first_only, second_only):
    first = np.repeat([True, False, True, False], [first_only, second_only, 7, 5])
    second = np.repeat([False, True, True, False], [first_only, second_only, 7, 5])
    counts = mcnemar(first, second)
    assert counts[:2] == (first_only, second_only)
    tosses = first_only + second_only
    expected = binomtest(first_only, tosses).pvalue if tosses else 1.0
    assert counts.p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 5])
def test_auc_is_that_of_scikit_learn(classes, stored):
    scores, label = scored(1, classes)
    scores[:50] = scores[50:100]
    value, influence = auc_influence(stored(scores, label))
    expected = scores[:, 1] if classes == 2 else scores / scores.sum(axis=1, keepdims=True)
    assert value == pytest.approx(roc_auc_score(label, expected, multi_class="ovo"), abs=1e-6)
    assert sum(influence[label == index].mean() for index in range(classes)) == pytest.approx(2 * value)


@pytest.mark.parametrize("classes", [2, 4])
def test_uncertainty_of_the_auc_difference_is_that_of_the_paired_bootstrap(classes, stored):
    models = scored(1, classes, skill=1.2), scored(2, classes)
    first, second = (stored(*item) for item in models)
    difference = auc_difference(first, second)
    one, other = (macro_auc(*item) for item in models)
    samples = np.concatenate([one(weights) - other(weights) for weights in resamples(first.label, 600, seed=4)])
    # 600 samples know their standard deviation to 3 %.
    assert difference.uncertainty == pytest.approx(samples.std(ddof=1), rel=0.1)
    unpaired = np.hypot(
        *(auc_difference(item, stored(*scored(9, classes, skill=0.0))).uncertainty for item in (first, second))
    )
    assert difference.uncertainty < unpaired
    assert auc_difference(second, first).value == -difference.value
    assert auc_difference(first, first) == (0.0, 0.0)


def test_survivors_of_one_cut_only(stored):
    # Signal scores 9 .. 1 at 50 %: the cut is at the fifth; background by hand.
    def model(background: list[float]) -> Scores:
        own = np.array([*np.arange(1, 11) / 20, *background])
        label = np.array([1] * 10 + [0] * len(background))
        return stored(np.stack([1 - own, own], axis=1), label)

    counts = survivors_of_one(model([0.4, 0.35, 0.1, 0.1]), model([0.1, 0.35, 0.1, 0.1]), 1, 0, 0.5)
    assert (counts.first_only, counts.second_only, counts.p_value) == (1, 0, 1.0)
    counts = survivors_of_one(model([0.1] * 8), model([0.45] * 8), 1, 0, 0.5)
    assert counts[:2] == (0, 8)
    assert counts.p_value == pytest.approx(2 * 0.5**8)


def test_other_jets_are_not_paired(stored):
    with pytest.raises(JetloomError, match="other jets"):
        check_same_jets(stored(*scored(1, jets=90)), stored(*scored(1, jets=60)), "here")


@pytest.mark.parametrize("count", [0, 1, 4, 188])
def test_garwood_is_the_chi_square_interval(count):
    low, high = garwood(count, 0.68)
    assert low == pytest.approx(chi2.ppf(0.16, 2 * count) / 2 if count else 0)
    assert high == pytest.approx(chi2.ppf(0.84, 2 * count + 2) / 2)
