"""Means over seeds."""

import math

import pytest

from jetloom.results.over_seeds import over_seeds
from tests.results.results import entry, result


def test_mean_and_spread_over_seeds():
    figure = over_seeds(entry(result(1, 0.60, 4), result(2, 0.64, 4)), "accuracy")
    assert figure.value == pytest.approx(0.62)
    assert figure.spread == pytest.approx(math.sqrt(2) * 0.02)
    assert figure.statistical == pytest.approx(0.01), "the same jets: more seeds do not help"
    assert figure.combined == pytest.approx(math.hypot(0.01, 0.02))
    assert over_seeds(entry(result(1, 0.6, 4)), "accuracy").spread is None
