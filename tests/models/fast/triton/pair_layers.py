"""Linear map, norm and GELU in training, beside the formula in double precision."""

import os
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor

from jetloom.models import fast
from jetloom.models.fast.triton import WANTED, linear_norm_gelu
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.norm import linear_norm_gelu as by_layers
from tests.models.fast.triton import TYPES, off


def differences(rows: int, widths: tuple[int, int], dtype: torch.dtype, marked: bool) -> dict[str, float]:
    """Of answer, running statistics and gradients."""
    generator = torch.Generator().manual_seed(2)
    before, after = widths
    # A mean far from zero, and rows that do not count.
    shapes = (rows, before), (after, before), (after,), (rows, after)
    x, weight, bias, gradient = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    real = torch.rand(rows, generator=generator) < 0.7 if marked else None
    found: list[list[Tensor]] = []
    for kernel in (True, False):
        wide = torch.float32 if kernel else torch.float64
        norm = RealBatchNorm(after).to(wide)
        with torch.no_grad():
            norm.weight.copy_(1 + 0.1 * torch.arange(after))
            norm.bias.copy_(0.3 - 0.1 * torch.arange(after))
        given = [(x + 3).to(dtype), weight, bias.float()]
        given = [(value if kernel else value.double()).detach().requires_grad_() for value in given]
        with patch.dict(os.environ, {WANTED: str(int(kernel))}), fast.off() if not kernel else nullcontext():
            assert not kernel or linear_norm_gelu.serves(given[0], norm)
            out = by_layers(*given, norm, real)
        out.backward(gradient.to(out.dtype))
        found.append([out, norm.running_mean, norm.running_var])
        found[-1] += [value.grad for value in (given[0], given[1], norm.weight, norm.bias) if value.grad is not None]
    names = ("answer", "running mean", "running variance", "x", "weight", "gamma", "beta")
    return {name: off(*pair) for name, *pair in zip(names, *found, strict=True)}


def looked() -> dict[str, dict[str, float]]:
    """Differences by name."""
    return {
        f"layer, {precision}, {'marked' if marked else 'all'}": differences(rows, widths, dtype, marked)
        for precision, dtype in TYPES.items()
        for rows, widths, marked in ((300, (4, 20), False), (130, (20, 8), True))
    }
