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
    if torch.is_grad_enabled() and query.device.type == "cpu" and not torch.compiler.is_compiling():
        # On CPU the fused kernel has no gradient for the bias, and what stands in for it takes 1.6 times as long.
        attended = _by_products(query, key, value, bias, dropout).transpose(1, 2)
        return attended.flatten(-2)
    attended = functional.scaled_dot_product_attention(query, key, value, bias, dropout).transpose(1, 2)
    if torch.compiler.is_exporting():
        # The exporter swaps in another kernel, whose output has another memory layout.
        attended = attended.clone(memory_format=torch.contiguous_format)
    return attended.flatten(-2)


def _by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """(B, H, Nq, K) and (B, H, Nk, K) to (B, H, Nq, K), by two batched matrix products."""
    shape = (*query.shape[:-1], key.shape[-2])
    scale = query.shape[-1] ** -0.5
    if bias is None:
        scores = query.flatten(0, 1) * scale @ key.flatten(0, 1).transpose(1, 2)
    else:
        bias = bias.expand(shape).flatten(0, 1)
        scores = torch.baddbmm(bias, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=scale)
    weights = functional.dropout(scores.softmax(-1).to(value.dtype), dropout, dropout > 0)
    return (weights @ value.flatten(0, 1)).view(query.shape)


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
