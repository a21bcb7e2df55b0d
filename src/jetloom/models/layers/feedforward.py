"""The feed-forward half of a Transformer block."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import gelu_dropout_norm as kernel
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.layer_norm import LayerNorm


def gelu_dropout_norm(x: Tensor, norm: LayerNorm, probability: float, training: bool) -> Tensor:
    """LayerNorm(Dropout(GELU(x))): NormFormer's middle of a feed-forward network."""
    if kernel.serves(x, norm):
        return kernel.gelu_dropout_norm(x, norm, probability if training else 0.0)
    out: Tensor = norm(dropout(functional.gelu(x), probability, training))
    return out


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
        hidden = self.fc1(self.norm(x))
        if self.hidden_norm is None:
            hidden = dropout(functional.gelu(hidden), self.dropout, self.training)
        else:
            hidden = gelu_dropout_norm(hidden, self.hidden_norm, self.dropout, self.training)
        out = dropout(self.fc2(hidden), self.dropout, self.training)
        return (x if self.residual_scale is None else x * self.residual_scale) + self.step * out
