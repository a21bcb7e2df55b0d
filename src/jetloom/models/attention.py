"""Multi-head attention as several papers share it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

CLOSED = -1e4
"""Added to the score of a padded key: its weight is exactly zero as soon as one key is real, and a jet without any
particle stays finite, which minus infinity would not give."""


def key_bias(mask: Tensor) -> Tensor:
    """(B, Nk) bool to (B, 1, 1, Nk) float32: 0 for real keys, ``CLOSED`` for padded ones."""
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, CLOSED)[:, None, None, :]


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention.

    Args:
        query: (B, Nq, D); head h owns channels h D / heads onwards.
        key, value: (B, Nk, D).
        heads: H.
        bias: added to the scores, broadcastable to (B, H, Nq, Nk).
        dropout: of the attention weights.

    Returns:
        (B, Nq, D)
    """
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    if bias is not None:
        bias = bias.to(query.dtype)
    attended = functional.scaled_dot_product_attention(query, key, value, bias, dropout).transpose(1, 2)
    if torch.compiler.is_exporting():
        # The exporter swaps in another kernel, whose output has another memory layout.
        attended = attended.clone(memory_format=torch.contiguous_format)
    return attended.flatten(-2)


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
