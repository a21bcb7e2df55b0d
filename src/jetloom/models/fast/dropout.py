"""Dropout whose random numbers do not cost more than the layers around it.

On a CPU torch draws one double for each number it may drop, in one thread whatever their count: a sixth of a training
step of ParT. Here a 64-bit draw serves four, and what is kept for the backward pass is one byte each instead of four.
"""

from typing import Any

import torch
from torch import Tensor, autograd

from jetloom.models.fast import eager

STEPS = 1 << 16
"""Probabilities are multiples of 1 / 65536; what is kept is scaled by the probability in use, so means are exact."""


def kept(shape: torch.Size, probability: float) -> tuple[Tensor, float]:
    """Random mask of a shape, on the CPU, and the factor for what it keeps.

    Args:
        shape: of the mask.
        probability: of False, in [0, 1].
    """
    dropped = round(probability * STEPS)
    draws = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    mask = (draws.view(torch.int16)[: shape.numel()] >= dropped - STEPS // 2).view(shape)
    return mask, STEPS / (STEPS - dropped) if dropped < STEPS else 0.0


def applied(x: Tensor, mask: Tensor, factor: float) -> Tensor:
    """``x`` where the mask keeps it, times the factor."""
    return mask.to(x.dtype).mul_(factor).mul_(x)


class _Dropout(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        mask, ctx.factor = kept(x.shape, probability)
        ctx.save_for_backward(mask)
        return applied(x, mask, ctx.factor)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return applied(gradient, ctx.saved_tensors[0], ctx.factor), None


def serves(x: Tensor) -> bool:
    """On a CPU."""
    return eager() and x.device.type == "cpu"


def dropout(x: Tensor, probability: float) -> Tensor:
    """As torch's in training: numbers are dropped with a probability and the others scaled to keep the mean."""
    dropped: Tensor = _Dropout.apply(x, probability)
    return dropped
