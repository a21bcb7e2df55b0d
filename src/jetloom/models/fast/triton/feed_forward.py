"""The feed-forward half of a block in one kernel, and two for its gradient.

A ParT of 512 jets has 28,000 particles, each with 512 hidden values in each of 8 blocks. Plain steps write and read
them for each product, GELU, dropout and normalisation, and keep some of them for the backward pass. Here they stay in
the registers of the program that needs them, in the backward pass once more: kept are x and, where hidden values are
normalised, their statistics and what the second map makes of them. Scales and shifts of the norms are built into the
maps.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, autograd

from jetloom.models.fast import folding
from jetloom.models.fast.triton import ROWS, exactness, factors, fitting, multiprocessors, shared_rows, tile
from jetloom.models.fast.triton import serves_rows as serves

if TYPE_CHECKING:
    from jetloom.models.layers.feedforward import Half

__all__ = ["feed_forward", "serves"]

CHUNK = 64
"""Hidden columns at a time."""
FEWER = 32
"""Rows of a tile where maps get their gradients: two of these are kept in registers already."""
PIPELINE = {"num_warps": 8, "num_stages": 2}
"""With which in bf16 no program for sm_90 spills registers (Triton 3.8, ptxas)."""


class Settings(NamedTuple):
    """What is no tensor."""

    eps: float
    inner_eps: float | None
    """None: hidden values are not normalised."""
    step: float
    dropout: float


def feed_forward(x: Tensor, half: "Half", dropout: float) -> Tensor:
    """scale x + step Dropout(W2 LN(Dropout(GELU(W1 LN(x))))) of (..., D); dropout is 0 outside training."""
    inner = half.hidden_norm
    first = folding.layer_norm(half.norm, half.fc1.weight, half.fc1.bias)
    second: tuple[Tensor, Tensor] = half.fc2.weight, half.fc2.bias
    if inner is not None:
        second = folding.layer_norm(inner, *second)
    settings = Settings(half.norm.eps, None if inner is None else inner.eps, half.step, dropout)
    out: Tensor = _FeedForward.apply(x.reshape(-1, x.shape[-1]), *first, *second, half.scale, settings)
    return out.view(x.shape)


class _FeedForward(autograd.Function):
    """scale x + step Dropout(V h + b), where h = Dropout(GELU(U z + a)), normalised or not, and z = (x - mean) / sd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, first: Tensor, shift: Tensor, second: Tensor, added: Tensor, scale: Tensor | None,
        settings: Settings,
    ) -> Tensor:  # fmt: skip
        from jetloom.models.fast.triton import feed_forward_kernels as kernels

        ctx.types, ctx.settings = (first.dtype, second.dtype), settings
        x, first, second = x.contiguous(), *(value.to(factors(x)).contiguous() for value in (first, second))
        sums = second.sum(1, dtype=torch.float32)
        out = x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, first.dtype if scale is None else scale.dtype))
        found, means, rstds = None, None, None
        if settings.inner_eps is not None:
            found = x.new_empty(x.shape, dtype=first.dtype)
            means, rstds = x.new_empty(2, len(x), dtype=torch.float32)
        seed = torch.randint(2**31 - 2, (1,), device=x.device, dtype=torch.int32) if settings.dropout else None
        rows = fitting(ROWS, first.dtype)
        kernels.forward[-(-len(x) // rows),](
            x, first, shift, second, sums, added, scale, seed, out, found, means, rstds,
            **_sizes(x, first, settings), inner_eps=settings.inner_eps or 0.0, rows=len(x), ROWS=rows,
        )  # fmt: skip
        ctx.save_for_backward(x, first, shift, second, sums, scale, seed, found, means, rstds)
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from jetloom.models.fast.triton import feed_forward_kernels as kernels

        x, first, shift, second, sums, scale, seed, found, means, rstds = ctx.saved_tensors
        gradient, sizes = gradient.contiguous(), _sizes(x, first, ctx.settings)
        hidden, width = first.shape
        to_x = torch.empty_like(x)
        rows = fitting(ROWS, first.dtype)
        tiles = -(-len(x) // rows)
        to_added, to_scale = x.new_empty(2, tiles, width, dtype=torch.float32)
        kernels.to_rows[tiles,](
            x, first, shift, second, sums, scale, seed, found, means, rstds, gradient, to_x, to_added, to_scale,
            **sizes, rows=len(x), ROWS=rows,
        )  # fmt: skip
        chunks = -(-hidden // sizes["CHUNK"])
        grid, shape = shared_rows(x, fitting(FEWER, first.dtype), max(1, multiprocessors(x) // chunks))
        to_first, to_second = x.new_empty(2, grid[0], hidden * width, dtype=torch.float32)
        to_shift = x.new_empty(grid[0], hidden, dtype=torch.float32)
        kernels.to_maps[*grid, chunks](
            x, first, shift, second, sums, seed, found, means, rstds, gradient, to_first, to_shift, to_second,
            **sizes, **shape,
        )  # fmt: skip
        of_first, of_second = ctx.types
        return (
            to_x, to_first.sum(0).view_as(first).to(of_first), to_shift.sum(0).to(of_first),
            to_second.sum(0).view_as(second).to(of_second), to_added.sum(0).to(of_second),
            None if scale is None else to_scale.sum(0).to(scale.dtype), None,
        )  # fmt: skip


def _sizes(x: Tensor, first: Tensor, settings: Settings) -> dict[str, Any]:
    """What all kernels are told of sizes, norms and dropout."""
    hidden, width = first.shape
    return {
        "width": width, "hidden": hidden, "eps": settings.eps, "step": settings.step, "dropout": settings.dropout,
        "DROPS": settings.dropout > 0.0, "WIDTH": tile(width),
        "CHUNK": min(fitting(CHUNK, first.dtype), tile(hidden)), "EXACT": exactness(), **PIPELINE,
    }  # fmt: skip
