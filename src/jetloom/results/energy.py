"""What the matrix products of one jet would take on a chip: operations and memory priced in picojoules.

A multiply-add is one multiplication at the width of the format and one addition at the 32 bits in which hardware (and
onnxruntime) accumulates. Every operand of a matrix product is read once and every result written once, in a static RAM
of 8 kB on the same chip; nothing comes from outside it. Softmax, norms and activations are left out, and so is control.
It is a floor that ranks networks and formats, not a measurement.

Prices: 45 nm, 0.9 V: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9,
as quoted in Front. Neurol. 13 (2022), PMC8934428, table 3 (memory: 10 pJ for 64 bits) and in stillwater-sc/universal,
generic_45nm.hpp; it has no bfloat16, for which float16 stands. 7 nm: Y. Zhang, Z. Zhang, L. Lew, arXiv:2112.00133,
table 1, as quoted in the cost model of arXiv:2512.17011 (heidelberg-hepml/tagger-quantization); no memory there.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

BITS = {"float32": 32, "bf16": 16, "int8": 8}
"""Formats of weights and activations, and their width."""


class Technology(NamedTuple):
    """Prices of a generation of chips, pJ."""

    name: str
    multiply: Mapping[str, float]
    """By format."""
    accumulate: Mapping[str, float]
    """An addition in 32 bits, of floats or of integers."""
    sram_byte: float | None
    """Of one byte read or written in a memory of 8 kB; None: not known."""


TECHNOLOGIES = (
    Technology("45 nm", {"float32": 3.7, "bf16": 1.1, "int8": 0.2}, {"float32": 0.9, "bf16": 0.9, "int8": 0.1}, 10 / 8),
    Technology(
        "7 nm", {"float32": 1.31, "bf16": 0.21, "int8": 0.07}, {"float32": 0.38, "bf16": 0.38, "int8": 0.03}, None
    ),
)


class Energy(NamedTuple):
    """Of one jet, pJ."""

    arithmetic: float
    memory: float | None
    """None: the technology has no price for it, or the measurement did not count what is moved."""

    @property
    def total(self) -> float | None:
        """Both; None: memory is not known."""
        return None if self.memory is None else self.arithmetic + self.memory


def energy(macs: int, moved: int | None, form: str, technology: Technology) -> Energy:
    """Price of one jet.

    Args:
        macs: multiply-adds of its matrix products.
        moved: numbers that these read and write; None: not counted.
        form: a key of ``BITS``.
        technology: whose prices.
    """
    arithmetic = macs * (technology.multiply[form] + technology.accumulate[form])
    if moved is None or technology.sram_byte is None:
        return Energy(arithmetic, None)
    return Energy(arithmetic, moved * BITS[form] / 8 * technology.sram_byte)


def energy_of(cost: Mapping[str, Any], form: str, technology: Technology) -> Energy:
    """Price of the jet at which a ``cost.json`` counts FLOPs; one of an earlier version has not counted memory."""
    return energy(cost["macs"], cost.get("moved"), form, technology)
