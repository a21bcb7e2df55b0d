"""The feed-forward half of a Transformer block."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import gelu_dropout_norm as kernel
from jetloom.models.fast.triton import feed_forward as on_gpu
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.layer_norm import LayerNorm


def gelu_dropout_norm(x: Tensor, norm: LayerNorm, probability: float, training: bool) -> Tensor:
    """LayerNorm(Dropout(GELU(x))): NormFormer's middle of a feed-forward network."""
    if kernel.serves(x, norm):
        return kernel.gelu_dropout_norm(x, norm, probability if training else 0.0)
    out: Tensor = norm(dropout(functional.gelu(x), probability, training))
    return out


class Half(NamedTuple):
    """Layers of the feed-forward half of a block."""

    norm: LayerNorm
    fc1: nn.Linear
    hidden_norm: LayerNorm | None
    """NormFormer's (arXiv:2110.09456), of hidden values."""
    fc2: nn.Linear
    scale: Tensor | None
    """(D,) NormFormer's, of the residual."""
    step: float = 1.0


def feed_forward(x: Tensor, half: Half, probability: float, training: bool) -> Tensor:
    """scale x + step Dropout(W2 LN(Dropout(GELU(W1 LN(x))))), (..., D) to (..., D)."""
    if on_gpu.serves(x):
        return on_gpu.feed_forward(x, half, probability if training else 0.0)
    hidden = half.fc1(half.norm(x))
    if half.hidden_norm is None:
        hidden = dropout(functional.gelu(hidden), probability, training)
    else:
        hidden = gelu_dropout_norm(hidden, half.hidden_norm, probability, training)
    out = dropout(half.fc2(hidden), probability, training)
    return torch.add(x if half.scale is None else x * half.scale, out, alpha=half.step)


class FeedForward(nn.Module):
    """x + step * W2 GELU(W1 LayerNorm x); with ``normformer`` a LayerNorm before W2 and a learned scale of x.

    Args:
        width: D.
        hidden: rows of W1.
        dropout: of hidden values and output.
        normformer: with the extras.
        step: 1, or 1/2 in the Macaron layer.
    """

    def __init__(self, width: int, hidden: int, dropout: float, normformer: bool, step: float = 1.0) -> None:
        super().__init__()
        self.dropout, self.step = dropout, step
        self.norm = LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.hidden_norm = LayerNorm(hidden) if normformer else None
        self.fc2 = nn.Linear(hidden, width)
        self.residual_scale = nn.Parameter(torch.ones(width)) if normformer else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        half = Half(self.norm, self.fc1, self.hidden_norm, self.fc2, self.residual_scale, self.step)
        return feed_forward(x, half, self.dropout, self.training)
