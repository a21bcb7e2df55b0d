"""Linear map, batch normalisation and GELU of rows in two kernels each way, for training: layers of pair embeddings.

A batch of 512 jets has half a million pairs with 64 numbers each. Plain steps read and write them for each product,
pass of the statistics, normalisation and GELU, and keep what lies between; here the input and what the normalisation
gets are all that waits for the backward pass. Each norm needs the statistics of all rows: that makes two kernels.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, autograd

from jetloom.models.fast.triton import WIDEST, exactness, factors, shared_rows, tile
from jetloom.models.fast.triton import serves as wanted

if TYPE_CHECKING:
    from jetloom.models.layers.norm import RealBatchNorm


def serves(x: Tensor, norm: "RealBatchNorm") -> bool:
    """In training, for rows that are not too wide."""
    learns = norm.training and torch.is_grad_enabled() and len(x) > 1
    return learns and max(x.shape[1], norm.num_features) <= WIDEST and wanted(x)


def linear_norm_gelu(x: Tensor, weight: Tensor, bias: Tensor, norm: "RealBatchNorm", real: Tensor | None) -> Tensor:
    """``gelu(norm(linear(x, weight, bias), real))`` of rows (n, K) to (n, D), and the running statistics."""
    out: Tensor
    out, number, mean, variance = _LinearNormGelu.apply(x, weight, bias, norm.weight, norm.bias, real, norm.eps)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * number / (number - 1), norm.momentum)
    return out


class _LinearNormGelu(autograd.Function):
    """y = x W^T + b, z = scale y + shift with the statistics of y over the rows that count, output gelu(z)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, real: Tensor | None, eps: float
    ) -> tuple[Tensor, ...]:
        from jetloom.models.fast.triton import linear_norm_gelu_kernels as kernels

        ctx.types = x.dtype, weight.dtype
        x, weight = (value.to(factors(x)).contiguous() for value in (x, weight))
        y, out = (x.new_empty(len(x), len(weight)) for _ in range(2))
        grid, shape = shared_rows(x)
        sums = x.new_empty(3, grid[0], len(weight), dtype=torch.float32)
        wide = {"BEFORE": tile(x.shape[1]), "AFTER": tile(len(weight))}
        sizes = {"before": x.shape[1], "after": len(weight)}
        marks = bias if real is None else real.view(torch.uint8)
        kernels.products[grid](
            x, weight, bias, marks, y, sums, **shape, **sizes, **wide, MARKED=real is not None, EXACT=exactness()
        )
        counts, means, squares = sums
        number = counts.sum(0).clamp(min=2.0)
        mean = (counts * means).sum(0) / number
        variance = (squares + counts * (means - mean).square()).sum(0) / number
        rstd = (variance + eps).rsqrt()
        scale = gamma * rstd
        shift = beta - mean * scale
        kernels.activated[grid](y, scale, shift, out, **shape, after=len(weight), AFTER=wide["AFTER"])
        ctx.save_for_backward(x, weight, y, scale, shift, mean, rstd, number, real)
        ctx.mark_non_differentiable(number, mean, variance)
        return out, number, mean, variance

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        from jetloom.models.fast.triton import linear_norm_gelu_kernels as kernels

        x, weight, y, scale, shift, mean, rstd, number, real = ctx.saved_tensors
        gradient = gradient.contiguous()
        grid, shape = shared_rows(x)
        wide = {"BEFORE": tile(x.shape[1]), "AFTER": tile(len(weight))}
        sums = x.new_empty(2, grid[0], len(weight), dtype=torch.float32)
        kernels.sums_back[grid](y, gradient, scale, shift, mean, sums, **shape, after=len(weight), AFTER=wide["AFTER"])
        to_beta, times = sums.sum(1)
        constant, slope = scale * to_beta / number, scale * rstd.square() * times / number
        to_x = torch.empty_like(x)
        to_weight = x.new_empty(grid[0], *weight.shape, dtype=torch.float32)
        marks = scale if real is None else real.view(torch.uint8)
        kernels.back[grid](
            x, weight, y, gradient, scale, shift, mean, constant, slope, marks, to_x, to_weight,
            **shape, before=x.shape[1], after=len(weight), **wide, MARKED=real is not None, EXACT=exactness(),
            num_warps=8,
        )  # fmt: skip
        of_x, of_weight = ctx.types
        # The mean takes the bias out again.
        of_bias = torch.zeros_like(scale)
        return to_x.to(of_x), to_weight.sum(0).to(of_weight), of_bias, times * rstd, to_beta, None, None
