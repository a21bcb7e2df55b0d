"""Linear map, LayerNorm, dropout and residual in one kernel each way: what stands behind the attention of a block.

Kept for the backward pass is what the heads found. The gradient of the map is a product of torch's.
"""

from typing import Any

import torch
from torch import Tensor, autograd, nn

from jetloom.models.fast.triton import ROWS, exactness, factors, fitting, tile
from jetloom.models.fast.triton import serves_rows as serves

__all__ = ["linear_norm_residual", "serves"]

PIPELINE = {"num_warps": 8}
"""With which in bf16 no program for sm_90 spills registers (Triton 3.8, ptxas)."""


def linear_norm_residual(
    attended: Tensor, weight: Tensor, bias: Tensor, norm: nn.LayerNorm, x: Tensor, dropout: float
) -> Tensor:
    """``x + dropout(norm(linear(attended, weight, bias)))`` of (..., D); dropout is 0 outside training."""
    rows = (value.reshape(-1, x.shape[-1]) for value in (attended, x))
    out: Tensor = _LinearNormResidual.apply(*rows, weight, bias, norm.weight, norm.bias, norm.eps, dropout)
    return out.view(x.shape)


class _LinearNormResidual(autograd.Function):
    """x + Dropout(gamma z + beta), where z is W a + b of mean 0 and deviation 1."""

    @staticmethod
    def forward(
        ctx: Any, attended: Tensor, x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float,
        dropout: float,
    ) -> Tensor:  # fmt: skip
        from jetloom.models.fast.triton import linear_norm_residual_kernels as kernels

        ctx.types = attended.dtype, x.dtype, weight.dtype, gamma.dtype
        attended, weight = (value.to(factors(x)).contiguous() for value in (attended, weight))
        x = x.contiguous()
        seed = torch.randint(2**31 - 1, (1,), device=x.device, dtype=torch.int32) if dropout else None
        out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, gamma.dtype))
        rows = fitting(ROWS, weight.dtype)
        ctx.sizes = {
            "rows": len(x), "width": x.shape[1], "eps": eps, "dropout": dropout, "DROPS": dropout > 0.0, "ROWS": rows,
            "WIDTH": tile(x.shape[1]), "EXACT": exactness(), **PIPELINE,
        }  # fmt: skip
        kernels.forward[-(-len(x) // rows),](attended, weight, bias, gamma, beta, x, seed, out, **ctx.sizes)
        ctx.save_for_backward(attended, weight, bias, gamma, seed)
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from jetloom.models.fast.triton import linear_norm_residual_kernels as kernels

        attended, weight, bias, gamma, seed = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_attended, to_value = torch.empty_like(attended), torch.empty_like(attended)
        tiles = -(-len(gradient) // ctx.sizes["ROWS"])
        sums = gamma.new_empty(3, tiles, len(gamma), dtype=torch.float32)
        kernels.backward[tiles,](
            attended, weight, bias, gamma, seed, gradient, to_attended, to_value, sums, tiles=tiles, **ctx.sizes
        )
        of_attended, of_x, of_weight, of_norm = ctx.types
        to_gamma, to_beta, to_bias = sums.sum(1)
        to_weight = to_value.t() @ attended
        return (
            to_attended.to(of_attended), gradient.to(of_x), to_weight.to(of_weight), to_bias.to(of_weight),
            to_gamma.to(of_norm), to_beta.to(of_norm), None, None,
        )  # fmt: skip
