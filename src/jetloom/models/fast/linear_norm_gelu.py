"""Linear map, batch normalisation and GELU as one step, for training on a CPU: the layers of a pair embedding.

A batch of jets has hundreds of thousands of pairs, so that each plain step would send tens of megabytes through the
memory. Here some thousand rows at a time go through all that can be done with them while they are in the cache, and
the backward pass keeps nothing but the input.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, autograd
from torch.nn import functional

from jetloom.models.fast import NARROW, eager, private_operators

if TYPE_CHECKING:
    from jetloom.models.layers.norm import RealBatchNorm

NUMBERS = 1 << 19
"""Of a tensor that go through together: two megabytes, 8192 rows of 64 channels."""


def _empty(x: Tensor, channels: int) -> Tensor:
    """For a product, (n, channels); few of them lie in memory one by one."""
    return x.new_empty(channels, len(x)).T if channels < NARROW else x.new_empty(len(x), channels)


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    rows = NUMBERS // max(x.shape[1] for x in tensors)
    return zip(*(x.split(rows) for x in tensors), strict=True)


class _LinearNormGelu(autograd.Function):
    """y = x W^T + b, z = scale y + shift with the statistics of y over the rows, output gelu(z)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        y = _empty(x, len(weight))
        # Sums of differences from about the mean lose no digits.
        pivot = functional.linear(x[:64], weight, bias).mean(0)
        sums = x.new_zeros(2, len(weight), dtype=torch.float64)
        for rows, into in _chunks(x, y):
            torch.addmm(bias, rows, weight.t(), out=into)
            difference = into - pivot
            sums[0] += difference.sum(0)
            sums[1] += difference.square_().sum(0)
        offset, square = sums / len(x)
        variance = square - offset.square()
        mean, variance = (pivot + offset).to(x.dtype), variance.to(x.dtype)
        rstd = (variance + eps).rsqrt()
        scale = gamma * rstd
        shift = beta - mean * scale
        for (into,) in _chunks(y):
            torch.addcmul(shift, into, scale, out=into)
            torch.ops.aten.gelu.out(into, out=into)
        ctx.save_for_backward(x, weight, bias, gamma, beta, mean, rstd)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gamma, beta, mean, rstd = ctx.saved_tensors
        scale = gamma * rstd
        centre = bias - mean
        y, to_z = (_empty(x, len(weight)) for _ in range(2))
        sums = x.new_zeros(2, len(weight), dtype=torch.float64)
        for rows, given, centred, into in _chunks(x, gradient, y, to_z):
            torch.addmm(centre, rows, weight.t(), out=centred)
            torch.ops.aten.gelu_backward.grad_input(given, torch.addcmul(beta, centred, scale), grad_input=into)
            sums[0] += into.sum(0)
            sums[1] += (into * centred).sum(0)
        to_beta = sums[0].to(x.dtype)
        to_gamma = sums[1].to(x.dtype) * rstd
        constant = -scale * to_beta / len(x)
        slope = -scale * rstd * to_gamma / len(x)
        to_x, to_weight = _empty(x, x.shape[1]), torch.zeros_like(weight)
        for rows, centred, given, into in _chunks(x, y, to_z, to_x):
            to_y = torch.addcmul(torch.addcmul(constant, centred, slope), given, scale)
            torch.mm(to_y, weight, out=into)
            to_weight.addmm_(to_y.t(), rows)
        # The mean takes the bias out again.
        return to_x, to_weight, torch.zeros_like(bias), to_gamma, to_beta, None


def serves(x: Tensor, norm: "RealBatchNorm", real: Tensor | None) -> bool:
    """In training on a CPU, in single or double precision, where every row counts in the statistics."""
    plain = x.device.type != "cpu" or x.dtype != norm.weight.dtype or torch.is_autocast_enabled("cpu")
    learns = norm.training and torch.is_grad_enabled() and real is None and len(x) > 1
    return learns and not plain and eager() and private_operators()


def linear_norm_gelu(x: Tensor, weight: Tensor, bias: Tensor, norm: "RealBatchNorm") -> Tensor:
    """``gelu(norm(linear(x, weight, bias)))`` of packed rows (n, K) to (n, D), and the running statistics."""
    out: Tensor
    mean: Tensor
    variance: Tensor
    out, mean, variance = _LinearNormGelu.apply(x, weight, bias, norm.weight, norm.bias, norm.eps)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (len(x) / (len(x) - 1)), norm.momentum)
    return out
