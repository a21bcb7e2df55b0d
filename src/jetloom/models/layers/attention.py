"""Multi-head attention as several papers share it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import attention as kernel

CLOSED = -1e4
"""Added to the score of a padded key: its weight is exactly zero as soon as one key is real, and a jet without any
particle stays finite, which minus infinity would not give."""


def key_bias(mask: Tensor) -> Tensor:
    """(B, Nk) bool to (B, 1, 1, Nk) float32: 0 for real keys, ``CLOSED`` for padded ones."""
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, CLOSED)[:, None, None, :]


def triangle(length: int, device: torch.device) -> Tensor:
    """(N, N) float32: 0 up to the diagonal, ``CLOSED`` behind it."""
    return torch.full((length, length), CLOSED, device=device).triu(1)


def split(x: Tensor, heads: int) -> Tensor:
    """(B, N, D) to (B, H, N, D / H): head h owns channels h D / H onwards."""
    heads_apart: Tensor = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    return heads_apart


def joined(x: Tensor) -> Tensor:
    """(B, H, N, D / H) to (B, N, D): the heads side by side."""
    return x.transpose(1, 2).flatten(-2)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    bias: Tensor | None,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Attention(Q, K, V) = softmax(q_h k_h^T / sqrt(d_h) + bias) v_h for each head h (arXiv:1706.03762, eq. 1).

    Args:
        query: (B, Nq, D).
        key, value: (B, Nk, D).
        heads: H.
        bias: added to the scores, broadcastable to (B, H, Nq, Nk).
        dropout: of the attention weights.
        causal: without a bias, position i sees those up to i only.

    Returns:
        (B, Nq, D)
    """
    query, key, value = split(query, heads), split(key, heads), split(value, heads)
    if kernel.serves():
        return kernel.attend(query, key, value, bias, dropout, causal)
    if causal:
        bias = triangle(query.shape[2], query.device)
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    return joined(functional.dropout(scores.softmax(-1), dropout) @ value)


class Projections(nn.Module):
    """The weights of a multi-head attention, named and initialised as in torch.nn.MultiheadAttention.

    in_proj_weight (3 D, D) holds the rows of query, key, value in this order.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def query_key_value(self, x: Tensor) -> Tensor:
        """(..., D) to (..., 3 D)."""
        return functional.linear(x, self.in_proj_weight, self.in_proj_bias)

    def query(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        width = x.shape[-1]
        return functional.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width])

    def key_value(self, x: Tensor) -> Tensor:
        """(..., D) to (..., 2 D)."""
        width = x.shape[-1]
        return functional.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
