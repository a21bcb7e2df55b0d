"""Rounding and looks."""

import pytest

from jetloom.drawing.numbers import decimals, duration, scaled, with_uncertainties
from jetloom.drawing.style import looks


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


def test_a_model_keeps_its_look():
    few, many = looks(["salt", "part"]), looks(["deepset", "part", "salt", "mine"])
    assert few["salt"] == many["salt"]
    assert few["part"] == many["part"]
    twenty = looks([f"variant{index}" for index in range(20)])
    assert len({(look.color, look.marker) for look in twenty.values()}) == 20
