"""LayerNorm and the linear map behind it in one kernel each way: queries, keys and values of a block.

Kept for the backward pass are the rows as they come in. The scale and shift of the norm are built into the map, whose
gradient is a product of torch's.
"""

from typing import Any

import torch
from torch import Tensor, autograd, nn

from jetloom.models.fast import folding
from jetloom.models.fast.triton import ROWS, exactness, factors, tile
from jetloom.models.fast.triton import serves_rows as serves

__all__ = ["norm_linear", "serves"]

CHUNK = 64
"""Columns at a time."""
PIPELINE = {"num_warps": 8}
"""With which no program for sm_90 spills registers (Triton 3.8, ptxas)."""


def norm_linear(x: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor) -> Tensor:
    """``linear(norm(x), weight, bias)`` of rows (n, D) to (n, K)."""
    out: Tensor = _NormLinear.apply(x, *folding.layer_norm(norm, weight, bias), norm.eps)
    return out


class _NormLinear(autograd.Function):
    """z W^T + b with z = (x - mean) / deviation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        from jetloom.models.fast.triton import norm_linear_kernels as kernels

        ctx.type, ctx.eps = weight.dtype, eps
        x, weight = x.contiguous(), weight.to(factors(x)).contiguous()
        out = x.new_empty(len(x), len(weight), dtype=weight.dtype)
        kernels.forward[-(-len(x) // ROWS),](x, weight, bias, out, **_sizes(x, weight, eps))
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from jetloom.models.fast.triton import norm_linear_kernels as kernels

        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_x, standards = torch.empty_like(x), torch.empty_like(x, dtype=weight.dtype)
        sizes = _sizes(x, weight, ctx.eps)
        kernels.backward[-(-len(x) // ROWS),](x, weight, gradient, to_x, standards, **sizes)
        to_bias = gradient.sum(0, dtype=torch.float32)
        return to_x, (gradient.t() @ standards).to(ctx.type), to_bias.to(ctx.type), None


def _sizes(x: Tensor, weight: Tensor, eps: float) -> dict[str, Any]:
    columns, width = weight.shape
    return {
        "rows": len(x), "width": width, "columns": columns, "eps": eps, "ROWS": ROWS, "WIDTH": tile(width),
        "CHUNK": min(CHUNK, tile(columns)), "EXACT": exactness(), **PIPELINE,
    }  # fmt: skip
