"""Multi-head attention as several papers share it."""

from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch.nn import functional

from jetloom.models.dropout import applied, kept

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
    fused = not dropout and (bias is None or not bias.requires_grad)
    if not fused and torch.is_grad_enabled() and query.device.type == "cpu" and not torch.compiler.is_compiling():
        # On CPU the fused kernel knows no dropout and no gradient for the bias; what stands in for it takes 1.6 times
        # as long.
        attended = _by_products(query, key, value, bias, dropout).transpose(1, 2)
        return attended.flatten(-2)
    attended = functional.scaled_dot_product_attention(query, key, value, bias, dropout).transpose(1, 2)
    if torch.compiler.is_exporting():
        # The exporter swaps in another kernel, whose output has another memory layout.
        attended = attended.clone(memory_format=torch.contiguous_format)
    return attended.flatten(-2)


class _Products(autograd.Function):
    """Attention with a bias that learns, by batched matrix products; keeps no more than the backward pass needs."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float, scale: float
    ) -> Tensor:
        """(G, Nq, K), (G, Nk, K), (G, Nk, K) and (G, Nq, Nk) to (G, Nq, K), with G = B H."""
        if bias is None:
            scores = (query * scale) @ key.transpose(1, 2)
        else:
            scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
        weights = scores.softmax(-1)
        mask, ctx.factor = kept(weights.shape, dropout) if dropout else (None, 1.0)
        ctx.scale = scale
        ctx.save_for_backward(query, key, value, weights, mask)
        return (weights if mask is None else applied(weights, mask, ctx.factor)) @ value

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, mask = ctx.saved_tensors
        used = weights if mask is None else applied(weights, mask, ctx.factor)
        to_value = used.transpose(1, 2) @ gradient
        to_weights = gradient @ value.transpose(1, 2)
        if mask is not None:
            to_weights = applied(to_weights, mask, ctx.factor)
        to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
        to_query = (to_scores @ key).mul_(ctx.scale)
        to_key = (to_scores.transpose(1, 2) @ query).mul_(ctx.scale)
        return to_query, to_key, to_value, to_scores if ctx.needs_input_grad[3] else None, None, None


def _by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """(B, H, Nq, K) and (B, H, Nk, K) to (B, H, Nq, K), by two batched matrix products."""
    shape = (*query.shape[:-1], key.shape[-2])
    # Heads first: so do biases of pairs lie in memory, and are not copied for each layer.
    rows = None if bias is None else bias.expand(shape).transpose(0, 1).flatten(0, 1)
    heads_first = [x.transpose(0, 1) for x in (query, key, value)]
    flat = (x.flatten(0, 1) for x in heads_first)
    # All of one precision, as they come: autocast would widen the softmax, and the backward pass knows no autocast.
    with torch.autocast("cpu", enabled=False):
        attended = _Products.apply(*flat, rows, dropout, query.shape[-1] ** -0.5)
    return attended.view(heads_first[0].shape).transpose(0, 1)


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
