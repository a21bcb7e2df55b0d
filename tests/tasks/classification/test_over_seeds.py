"""Rejections over seeds, paired differences of accuracy."""

import math

import numpy as np
import pytest

from jetloom.statistics.values import Value
from jetloom.tasks.classification.over_seeds import accuracy_difference, combined_interval, rejection_over_seeds
from tests.report.fabricate import predicted
from tests.results.results import entry, result


def test_rejection_is_the_inverse_of_the_mean_efficiency():
    figure = rejection_over_seeds(entry(result(1, 0.6, 2), result(2, 0.6, 6)), "Hbb")
    assert figure.value == pytest.approx(100)
    assert figure.low == pytest.approx(400 / 6)
    assert figure.high == pytest.approx(400 / 3.5)
    low, high = combined_interval(figure)
    # eps_B = 4 of 400, up 2 and down 0.5 from the jets, and 2 from the seeds.
    assert low == pytest.approx(400 / (4 + math.hypot(2, 2)))
    assert high == pytest.approx(400 / (4 - math.hypot(0.5, 2)))


def test_one_seed_without_survivor_does_not_make_the_mean_infinite():
    figure = rejection_over_seeds(entry(result(1, 0.6, 0), result(2, 0.6, 4)), "Hbb")
    assert figure.value == pytest.approx(200)
    nothing = rejection_over_seeds(entry(result(1, 0.6, 0), result(2, 0.6, 0.5)), "Hbb")
    assert nothing.value is None
    assert nothing.low == pytest.approx(400 / 2.25)


def test_jets_on_which_both_agree_do_not_blur_the_difference(tmp_path):
    right = np.array([True] * 6 + [False] * 4)
    other = right.copy()
    other[0] = False
    for name, correct in (("right", right), ("other", other)):
        scores = np.stack([~correct, correct], axis=1).astype(np.float32)
        predicted(tmp_path / name, scores, np.ones(len(correct), dtype=int))
    one = entry(result(1, 0.6, 4, tmp_path / "right"))
    difference = accuracy_difference(one, entry(result(1, 0.5, 4, tmp_path / "other")))
    assert difference.value == pytest.approx(0.1)
    assert difference.uncertainty == pytest.approx(0.3 / math.sqrt(10)), "one jet of ten differs"
    same = accuracy_difference(one, entry(result(1, 0.6, 4, tmp_path / "right")))
    assert (same.value, same.sigma) == (0, 0)


def test_limit_without_interval():
    with pytest.raises(ValueError, match="lower limit"):
        combined_interval(Value(None, 50.0, None, None, 1))
