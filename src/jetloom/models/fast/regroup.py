"""Runs of a few neighbouring numbers change places in memory, each run as one wide number."""

from typing import Any

import torch
from torch import Tensor, autograd

from jetloom.models.fast import eager

WIDE = {16: torch.complex128, 8: torch.complex64}
"""Types of so many bytes."""


def serves(x: Tensor) -> bool:
    """On a CPU, where copies of few numbers at a time take long."""
    return eager() and x.device.type == "cpu"


def regrouped(x: Tensor, run: int) -> Tensor:
    """(n, A, B run) to (n, B, A run); it knows no gradient."""
    size = run * x.element_size()
    wide = WIDE.get(size) or WIDE.get(size // 2)
    split: Tensor = x.unflatten(-1, (-1, run))
    if wide is None or not x.is_contiguous():
        return split.transpose(1, 2).flatten(2)
    pieces = split.view(wide).transpose(1, 2).contiguous()
    return pieces.view(x.dtype).flatten(2)


class _Parted(autograd.Function):
    """What each head has of four-vectors (4, run) and behind them of numbers, to both streams."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: int) -> tuple[Tensor, Tensor]:
        """(n, H, 4 run + a) to (n, 4, H run) and (n, H a)."""
        ctx.run = run
        return regrouped(x[..., : 4 * run].contiguous(), run), x[..., 4 * run :].flatten(1)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, to_vectors: Tensor, to_numbers: Tensor) -> tuple[Tensor | None, ...]:
        return together(to_vectors, to_numbers, ctx.run), None


def parted(x: Tensor, run: int) -> tuple[Tensor, Tensor]:
    """(n, H, 4 run + a) to (n, 4, H run) and (n, H a)."""
    found: tuple[Tensor, Tensor] = _Parted.apply(x, run)
    return found


def together(vectors: Tensor, numbers: Tensor, run: int) -> Tensor:
    """(n, 4, H run) and (n, H a) to (n, H, 4 run + a); it knows no gradient."""
    heads = vectors.shape[2] // run
    numbers = numbers.unflatten(1, (heads, -1))
    flat = vectors.new_empty(len(vectors), heads, 4 * run + numbers.shape[2])
    flat[..., : 4 * run] = regrouped(vectors.contiguous(), run)
    flat[..., 4 * run :] = numbers
    return flat
