"""Prices of operations and memory."""

import pytest

from jetloom.results.energy import BITS, TECHNOLOGIES, energy, energy_of

OLD, NEW = TECHNOLOGIES


def test_the_published_cost_model_is_found_again():
    """arXiv:2512.17011, cost_estimate/energy_50.json: 178,896,640 pJ for a Transformer in float32 at 50 particles.

    Its formula, term by term, for ten blocks of 128 channels: projections, attention, feed-forward of width 512, biases
    and two norms of three steps.
    """
    n, d, blocks = 50, 128, 10
    projections, feed = 4 * n * (d * d + d), 2 * n * (4 * d * d + 4 * d)
    macs = blocks * (projections + 2 * n * n * d + feed + 2 * 3 * n * d)
    assert energy(macs, None, "float32", NEW).arithmetic == pytest.approx(178_896_640, rel=1e-9)


def test_operations_and_memory_of_one_multiply_add():
    """45 nm: a float32 product of 3.7 pJ, a sum of 0.9, and 10 pJ for each 64 bits of memory."""
    assert energy(1, 2, "float32", OLD) == (pytest.approx(4.6), pytest.approx(10.0))
    assert energy(1, 8, "int8", OLD) == (pytest.approx(0.3), pytest.approx(10.0))
    assert energy(1, 4, "bf16", OLD).total == pytest.approx(12.0)


@pytest.mark.parametrize("technology", TECHNOLOGIES, ids=lambda item: item.name)
def test_fewer_bits_take_less(technology):
    prices = [energy(1000, 1000, form, technology) for form in BITS]
    assert [price.arithmetic for price in prices] == sorted((price.arithmetic for price in prices), reverse=True)
    if technology.sram_byte:
        assert [price.memory / prices[0].memory for price in prices] == [1, 0.5, 0.25]
    assert technology.multiply.keys() == technology.accumulate.keys() == BITS.keys()


def test_a_cost_of_an_earlier_version_has_no_memory():
    assert energy_of({"macs": 10}, "float32", OLD) == (pytest.approx(46.0), None)
    assert energy_of({"macs": 10}, "float32", OLD).total is None
    assert energy_of({"macs": 10, "moved": 8}, "float32", NEW).memory is None
