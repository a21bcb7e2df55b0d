"""A linear layer whose result lies in memory channel by channel."""

import torch
from torch import Tensor, nn

from jetloom.models.fast import on


def serves() -> bool:
    """Everywhere."""
    return on()


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Rows (B, N, D) to (B, N, K), which lies in memory as (B, K, N).

    Sums, maxima and softmax over channels or mixtures then run along memory; elementwise steps keep the order.
    """
    weight = layer.weight.expand(x.shape[0], -1, -1)
    return torch.baddbmm(layer.bias[:, None], weight, x.transpose(1, 2)).transpose(1, 2)
