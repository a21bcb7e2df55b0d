"""Kernels: the same results as the formulas of ``layers/`` and of the papers' files, sooner or with less memory.

Only here is asked how a network is run: device, gradients, a graph that is recorded, mixed precision, version of torch.
Each kernel has a guard that says when it serves; where it does not, the formula stands. Kernels know no formula: what
they need of a layer they are given.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

TESTED = ((2, 11), (2, 15))
"""First and last version of torch whose private operators the kernels were tested with."""

NARROW = 16
"""Columns: with fewer, MKL's product takes far longer than the same one turned over (docs/performance.md)."""

_on = True


@contextmanager
def off() -> Iterator[None]:
    """Formulas only, as long as this lasts."""
    global _on
    before, _on = _on, False
    try:
        yield
    finally:
        _on = before


def on() -> bool:
    """Whether kernels are wanted at all."""
    return _on


def eager() -> bool:
    """Whether kernels are wanted that look at numbers, of which a recorded graph has none, or that graphs do not know.

    Shapes that depend on how many particles are real would break or bloat a graph of torch.compile or torch.export.
    """
    return _on and values_known()


def waits(x: Tensor) -> bool:
    """Whether the host, to read a number of a tensor, would have to wait until a GPU has got there."""
    return x.device.type != "cpu"


def values_known() -> bool:
    """Whether tensors hold numbers; False while torch.compile or torch.export records a graph."""
    return not torch.compiler.is_compiling()


def exporting() -> bool:
    """Whether a graph for ONNX is recorded."""
    return torch.compiler.is_exporting()


def larger(first: int, second: int) -> int:
    """The larger of two lengths, either of which may be a symbol of a graph that is recorded.

    Of two numbers torch 2.11 records no ``sym_max``.
    """
    if isinstance(first, int) and isinstance(second, int):
        return max(first, second)
    largest: int = torch.sym_max(first, second)
    return largest


def private_operators() -> bool:
    """Whether the kernels were tested with the private operators of this version of torch."""
    major, minor = torch.__version__.split(".")[:2]
    return TESTED[0] <= (int(major), int(minor)) <= TESTED[1]


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """On the device of a tensor, without mixed precision as long as this lasts."""
    return torch.autocast(x.device.type, enabled=False)
