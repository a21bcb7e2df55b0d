"""Attention on packed particles whose bias is that of unordered pairs, each of which lies in memory once.

Scores of B jets with H heads are B H N^2 numbers, which a step of training writes and reads several times; here they
stay in the registers of the program that needs them (arXiv:2205.14135, with a bias and its gradient added).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, autograd

from jetloom.models.fast.triton import exactness, serves, tile

if TYPE_CHECKING:
    from jetloom.models.layers.packing import Packing

__all__ = ["Triangle", "attend", "serves"]

FORWARD, BACKWARD = 64, 32
"""Particles of a tile at most. With more a program for sm_90 has not enough registers (Triton 3.6, ptxas -v)."""


class Triangle(NamedTuple):
    """Bias of the pairs of each jet, and where its particles are among the packed ones."""

    bias: Tensor
    """(H, P) of the pairs i >= j of each jet in turn, (0, 0), (1, 0), (1, 1), (2, 0) ..."""
    first: Tensor
    """(B,) int32, the packed row of the first particle of each jet."""
    length: Tensor
    """(B,) int32 of its rows."""
    begin: Tensor
    """(B,) int32, its first pair."""
    longest: int
    """Most rows of a jet."""
    marks: Tensor | None
    """(n,) bool, which rows are particles; None: all."""


def of_jets(rows: Tensor, packing: "Packing") -> Triangle:
    """Biases (P, H) of the pairs of real particles or, where padding is carried along, of all slots."""
    jets, slots = packing.mask.shape
    if packing.real is None:
        length = packing.mask.sum(1, dtype=torch.int32)
        longest = slots if packing.length is None else int(packing.length.max(initial=0))
    else:
        length = torch.full((jets,), slots, dtype=torch.int32, device=rows.device)
        longest = slots
    pairs = length * (length + 1) // 2
    first, begin = ((x.cumsum(0) - x).int() for x in (length, pairs))
    return Triangle(rows.t().contiguous(), first, length, begin, longest, packing.real)


def attend(rows: Tensor, triangle: Triangle, heads: int, dropout: float) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v within each jet.

    Args:
        rows: (n, 3 D), queries, keys and values side by side; head h owns channels h D / H onwards of each.
        triangle: the bias.
        heads: H.
        dropout: of the weights.

    Returns:
        (n, D); zeros in rows that are no particle.
    """
    attended: Tensor = _Attention.apply(rows.contiguous(), triangle.bias, triangle, heads, dropout)
    return attended


class _Attention(autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor, triangle: Triangle, heads: int, dropout: float) -> Tensor:
        from jetloom.models.fast.triton import attention_kernels

        out = rows.new_zeros(len(rows), rows.shape[1] // 3)
        norms = rows.new_zeros(heads, len(rows), dtype=torch.float32)
        seed = torch.randint(2**31 - 1, (1,), device=rows.device, dtype=torch.int32) if dropout else triangle.first
        grid, settings = _launch(rows, bias, triangle, heads, dropout, FORWARD)
        if len(rows):
            attention_kernels.forward[grid](*_given(rows, bias, triangle, seed), out, norms, **settings)
        ctx.save_for_backward(rows, bias, out, norms, seed)
        ctx.triangle, ctx.heads, ctx.dropout = triangle._replace(bias=bias.new_empty(0)), heads, dropout
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from jetloom.models.fast.triton import attention_kernels

        rows, bias, out, norms, seed = ctx.saved_tensors
        to_rows, to_bias = torch.zeros_like(rows), torch.zeros_like(bias)
        grid, settings = _launch(rows, bias, ctx.triangle, ctx.heads, ctx.dropout, BACKWARD)
        if len(rows):
            given = _given(rows, bias, ctx.triangle, seed)
            attention_kernels.backward[grid](*given, out, norms, gradient.contiguous(), to_rows, to_bias, **settings)
        return to_rows, to_bias, None, None, None


def _given(rows: Tensor, bias: Tensor, triangle: Triangle, seed: Tensor) -> tuple[Tensor, ...]:
    marks = triangle.first if triangle.marks is None else triangle.marks.view(torch.uint8)
    return rows, bias, marks, triangle.first, triangle.length, triangle.begin, seed


def _launch(
    rows: Tensor, bias: Tensor, triangle: Triangle, heads: int, dropout: float, most: int
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """Programs for jets, heads and tiles, and what each is told."""
    width = rows.shape[1] // 3
    dim = width // heads
    block = min(most, tile(triangle.longest))
    grid = len(triangle.first), heads, -(-max(triangle.longest, 1) // block)
    settings = {
        "number": len(rows), "pairs": bias.shape[1], "width": width, "dim": dim, "scale": dim**-0.5,
        "dropout": dropout, "MARKED": triangle.marks is not None, "DROPS": dropout > 0.0, "BLOCK": block,
        "DIM": tile(dim), "EXACT": exactness(),
    }  # fmt: skip
    return grid, settings
