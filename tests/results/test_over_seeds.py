"""Rounding, means over seeds, paired differences."""

import math
from pathlib import Path

import numpy as np
import pytest

from jetloom.drawing.numbers import Figure, decimals, duration, scaled, with_uncertainties
from jetloom.drawing.style import looks
from jetloom.results.collect import Entry, Result
from jetloom.results.over_seeds import (
    accuracy_difference,
    combined_interval,
    over_seeds,
    pareto,
    rejection_over_seeds,
)
from tests.report.fabricate import predicted


@pytest.mark.parametrize(
    ("value", "uncertainty", "expected"),
    # The examples of the Particle Data Group: 0.827 +- 0.119, 0.827 +- 0.367, 14.674 +- 0.964.
    [(0.827, 0.119, ["0.83", "0.12"]), (0.827, 0.367, ["0.8", "0.4"]), (14.674, 0.964, ["14.7", "1.0"]),
     (1234.5, 87.0, ["1,230", "90"]), (0.68, 0.0101, ["0.680", "0.010"]), (5.0, 0.9996, ["5.0", "1.0"])],
)  # fmt: skip
def test_rounding_of_the_particle_data_group(value, uncertainty, expected):
    assert with_uncertainties(value, uncertainty) == expected


def test_the_larger_uncertainty_decides():
    assert with_uncertainties(0.68123, 0.0008, 0.012) == ["0.681", "0.001", "0.012"]
    assert with_uncertainties(0.68123, None, 0.0) == ["0.681"]
    assert decimals(0.0354) == 3
    assert decimals(0.0356) == 2


def test_words_for_numbers():
    assert [scaled(number) for number in (950, 25_406, 2_143_486, 341_563_674)] == ["950", "25.4 k", "2.14 M", "342 M"]
    assert [duration(number) for number in (4.21, 42, 190, 7500)] == ["4.2 s", "42 s", "3 min 10 s", "2 h 05 min"]


def result(seed: int, accuracy: float, passing: float, predictions: Path = Path("none")) -> Result:
    """A result of which only some figures are known."""
    background = 400
    rejection = {
        "value": background / passing if passing >= 1 else None,
        "low": background / (passing + 2),
        "high": background / (passing - 0.5) if passing >= 1 else None,
        "background_passing": passing,
        "background_jets": background,
    }
    values = {
        "accuracy": {"value": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01},
        "rejection": {"Hbb": rejection},
    }
    return Result(seed, {"values": values, "classes": ["a", "b"]}, {}, {}, predictions)


def entry(*results: Result) -> Entry:
    return Entry("d", "m", "M", list(results), None)


def test_mean_and_spread_over_seeds():
    figure = over_seeds(entry(result(1, 0.60, 4), result(2, 0.64, 4)), "accuracy")
    assert figure.value == pytest.approx(0.62)
    assert figure.spread == pytest.approx(math.sqrt(2) * 0.02)
    assert figure.statistical == pytest.approx(0.01), "the same jets: more seeds do not help"
    assert figure.combined == pytest.approx(math.hypot(0.01, 0.02))
    assert over_seeds(entry(result(1, 0.6, 4)), "accuracy").spread is None


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


def test_pareto_front():
    assert pareto([(1, 0.5), (2, 0.4), (3, 0.7), (3, 0.6), (9, 0.7)]) == [0, 2]


def test_a_model_keeps_its_look():
    few, many = looks(["salt", "part"]), looks(["deepset", "part", "salt", "mine"])
    assert few["salt"] == many["salt"]
    assert few["part"] == many["part"]
    twenty = looks([f"variant{index}" for index in range(20)])
    assert len({(look.color, look.marker) for look in twenty.values()}) == 20


def test_limit_without_interval():
    with pytest.raises(ValueError, match="lower limit"):
        combined_interval(Figure(None, 50.0, None, None, 1))
