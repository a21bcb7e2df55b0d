"""A linear layer whose result lies in memory channel by channel."""

import torch
from torch import Tensor, nn

from jetloom.models.fast import on


def serves() -> bool:
    """Everywhere."""
    return on()


def linear(layer: nn.Linear, x: Tensor, *, rectified: bool = False) -> Tensor:
    """Rows (B, N, D) to (B, N, K), which lies in memory as (B, K, N); ``rectified``: the ReLU of it.

    Sums, maxima and softmax over channels or mixtures then run along memory; elementwise steps keep the order.
    """
    weight = layer.weight.expand(x.shape[0], -1, -1)
    out = torch.baddbmm(layer.bias[:, None], weight, x.transpose(1, 2))
    # In place before it is seen the other way round: what changes a view is copied in the backward pass.
    return (out.relu_() if rectified else out).transpose(1, 2)
