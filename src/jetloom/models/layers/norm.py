"""Batch normalisation of real particles, and the layer that it makes with a linear map before and a GELU behind."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import folding
from jetloom.models.fast import linear_norm_gelu as kernel
from jetloom.models.fast.triton import linear_norm_gelu as on_gpu


class RealBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of packed rows (n, D) whose statistics leave padding out, also where it is carried along."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: (n, D).
            real: (n,) bool, rows that count; None: all. The statistics of a lone row are not defined: it is
                normalised with the running ones, which it leaves alone.
        """
        if not self.training or (real is None and len(x) < 2):
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if real is None:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        weight = real[:, None].to(wide.dtype)
        number = weight.sum().clamp(min=2.0)
        mean = (wide * weight).sum(0) / number
        variance = ((wide - mean).square() * weight).sum(0) / number
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        return ((wide - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias).to(x.dtype)


def linear_norm_gelu(x: Tensor, weight: Tensor, bias: Tensor, norm: RealBatchNorm, real: Tensor | None) -> Tensor:
    """GELU(BatchNorm(W x + b)) of packed rows (n, K) to (n, D); ``real`` (n,) are those that count, None: all."""
    if folding.serves(norm):
        return functional.gelu(functional.linear(x, *folding.batch_norm(norm, weight, bias)))
    if kernel.serves(x, norm, real):
        return kernel.linear_norm_gelu(x, weight, bias, norm)
    if on_gpu.serves(x, norm):
        return on_gpu.linear_norm_gelu(x, weight, bias, norm, real)
    return functional.gelu(norm(functional.linear(x, weight, bias), real))
