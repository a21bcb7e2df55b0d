"""Attention by torch's fused kernels and, where a CPU's knows no gradient, by batched matrix products."""

from typing import Any

import torch
from torch import Tensor, autograd
from torch.nn import functional

from jetloom.models.fast import NARROW, eager, exporting, full_precision, on, private_operators, values_known, waits
from jetloom.models.fast.dropout import applied, kept

MOST = 65_535
"""Sets of queries that a GPU's fused kernel takes at once: the third axis of CUDA's grids has no room for more."""


def serves() -> bool:
    """Everywhere: torch has a fused kernel, or takes the plain steps itself."""
    return on()


def attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float, causal: bool = False
) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v of (B, H, Nq, d), (B, H, Nk, d) twice and a bias to (B, Nq, H d).

    ``causal``, without a bias: position i sees those up to i only.
    """
    if bias is not None:
        bias = bias.to(query.dtype)
    if waits(query) and values_known() and len(query) > MOST:
        sets = query.split(MOST), key.split(MOST), value.split(MOST)
        shared = bias is None or bias.dim() < 4 or len(bias) == 1
        biases = [bias] * len(sets[0]) if bias is None or shared else bias.split(MOST)
        parts = zip(*sets, biases, strict=True)
        return torch.cat([attend(*part, dropout, causal) for part in parts])
    if not causal and _by_products_serves(query, bias, dropout):
        return _by_products(query, key, value, bias, dropout).transpose(1, 2).flatten(-2)
    attended = functional.scaled_dot_product_attention(query, key, value, bias, dropout, causal).transpose(1, 2)
    if exporting():
        # The exporter swaps in another kernel, whose output has another memory layout.
        attended = attended.clone(memory_format=torch.contiguous_format)
    return attended.flatten(-2)


def _by_products_serves(query: Tensor, bias: Tensor | None, dropout: float) -> bool:
    """On CPU the fused kernel knows no dropout and no gradient of the bias; what stands in for it takes 1.6 times as
    long."""
    fused = not dropout and (bias is None or not bias.requires_grad)
    learns = torch.is_grad_enabled() and query.device.type == "cpu"
    return not fused and learns and eager() and private_operators()


def _product(weights: Tensor, rows: Tensor) -> Tensor:
    """(G, N, M) times (G, M, K) to (G, N, K)."""
    if rows.shape[2] < NARROW <= weights.shape[2]:
        return (rows.mT @ weights.mT).mT
    return weights @ rows


def _softmax(scores: Tensor) -> Tensor:
    """Over the last axis of (G, N, M); over eight keys it takes a quarter of the time along the queries."""
    return scores.mT.softmax(1).mT if scores.shape[2] < NARROW else scores.softmax(2)


def _softmax_backward(gradient: Tensor, weights: Tensor) -> Tensor:
    if weights.shape[2] < NARROW:
        return torch._softmax_backward_data(gradient.mT, weights.mT, 1, weights.dtype).mT
    return torch._softmax_backward_data(gradient, weights, 2, weights.dtype)


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
        weights = _softmax(scores)
        mask, ctx.factor = kept(weights.shape, dropout) if dropout else (None, 1.0)
        ctx.scale = scale
        ctx.save_for_backward(query, key, value, weights, mask)
        return _product(weights if mask is None else applied(weights, mask, ctx.factor), value)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, mask = ctx.saved_tensors
        used = weights if mask is None else applied(weights, mask, ctx.factor)
        to_value = _product(used.mT, gradient)
        to_weights = gradient @ value.mT
        if mask is not None:
            to_weights = applied(to_weights, mask, ctx.factor)
        to_scores = _softmax_backward(to_weights, weights)
        to_query = _product(to_scores, key).mul_(ctx.scale)
        to_key = _product(to_scores.mT, query).mul_(ctx.scale)
        return to_query, to_key, to_value, to_scores if ctx.needs_input_grad[3] else None, None, None


def _by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """(B, H, Nq, K) and (B, H, Nk, K) to (B, H, Nq, K), by two batched matrix products."""
    shape = (*query.shape[:-1], key.shape[-2])
    # Heads first: so do biases of pairs lie in memory, and are not copied for each layer.
    rows = None if bias is None else bias.expand(shape).transpose(0, 1).flatten(0, 1)
    heads_first = [x.transpose(0, 1) for x in (query, key, value)]
    flat = (x.flatten(0, 1) for x in heads_first)
    # All of one precision, as they come: autocast would widen the softmax, and the backward pass knows no autocast.
    with full_precision(query):
        attended: Tensor = _Products.apply(*flat, rows, dropout, query.shape[-1] ** -0.5)
    return attended.view(heads_first[0].shape).transpose(0, 1)
