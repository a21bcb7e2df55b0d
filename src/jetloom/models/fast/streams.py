"""L-GATr-slim's block with fewer passes over memory: gains are part of the weights, and so is the order of the heads.

Of vectors (n, 4, C) and scalars (n, S), the factor f of the joint normalisation is one number for each item, which may
be multiplied behind a linear map without bias as well. Components are px, py, pz, E.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, autograd
from torch.nn import functional

from jetloom.models.fast import eager
from jetloom.models.fast.regroup import regrouped

if TYPE_CHECKING:
    from jetloom.models.lgatr_slim import Attention, GatedLinear, Norm

CUBE, SLOPE = 0.044715, 2 * math.sqrt(2 / math.pi)
"""GELU(x) in its tanh form is x sigmoid(SLOPE (x + CUBE x^3))."""


def serves(x: Tensor) -> bool:
    """On a CPU, where each pass counts; a graph's compiler knows better."""
    return eager() and x.device.type == "cpu"


def squares(vectors: Tensor) -> Tensor:
    """E^2 - p^2 of each channel, (n, 4, C) to (n, C)."""
    return _products(vectors, vectors)


def _products(first: Tensor, second: Tensor) -> Tensor:
    """E E' - p p' of each channel, (n, 4, C) twice to (n, C)."""
    product = first * second
    found = product[:, 3] - product[:, 0]
    return found.sub_(product[:, 1]).sub_(product[:, 2])


def _flipped(x: Tensor) -> Tensor:
    """x with the signs of the metric, in place."""
    x[:, :3].neg_()
    return x


class _Factor(autograd.Function):
    """f = (mean over channels of |<v, v>| and s^2, + epsilon)^(-1/2)."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, scalars: Tensor, epsilon: float) -> Tensor:
        """(n, 4, C) and (n, S) to (n, 1)."""
        products = squares(vectors)
        ctx.channels = vectors.shape[-1] + scalars.shape[-1]
        total = products.abs().sum(-1, keepdim=True).add_(scalars.square().sum(-1, keepdim=True))
        factor = total.div_(ctx.channels).add_(epsilon).rsqrt_()
        ctx.save_for_backward(vectors, scalars, products, factor)
        return factor

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        vectors, scalars, products, factor = ctx.saved_tensors
        scale = gradient * factor.pow(3).mul_(-1 / ctx.channels)
        return _flipped(vectors * (products.sign() * scale)[:, None]), scalars * scale, None


def factor(vectors: Tensor, scalars: Tensor, epsilon: float) -> Tensor:
    """f, (n, 1)."""
    found: Tensor = _Factor.apply(vectors, scalars, epsilon)
    return found


class _Heads(autograd.Function):
    """Queries, keys and values from their channels: scaled with f, normalised for each head, side by side."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, scalars: Tensor, factor: Tensor, heads: int, epsilon: float) -> Tensor:
        """(n, 4, 3 H h_v), (n, 3 H h_s) and (n, 1) to (n, 3 H (4 h_v + h_s)); the metric is part of the queries."""
        groups = 3 * heads
        of_vectors, of_scalars = vectors.shape[-1] // groups, scalars.shape[-1] // groups
        products = squares(vectors)
        mean = products.abs() @ _sums(groups, of_vectors, vectors)
        mean.add_(scalars.square().unflatten(1, (groups, of_scalars)).sum(-1)).div_(of_vectors + of_scalars)
        root = torch.addcmul(mean.new_full((), epsilon), mean, factor.square()).rsqrt_()
        scale = root * factor
        flat = vectors.new_empty(len(vectors), groups, 4 * of_vectors + of_scalars)
        _scale_vectors(vectors, scale, flat[..., : 4 * of_vectors], heads, of_vectors)
        torch.mul(scalars.unflatten(1, (groups, of_scalars)), scale[..., None], out=flat[..., 4 * of_vectors :])
        ctx.heads, ctx.epsilon = heads, epsilon
        ctx.save_for_backward(vectors, scalars, products, factor, root)
        return flat.flatten(1)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        vectors, scalars, products, factor, root = ctx.saved_tensors
        groups = 3 * ctx.heads
        of_vectors, of_scalars = vectors.shape[-1] // groups, scalars.shape[-1] // groups
        gradient = gradient.unflatten(1, (groups, -1))
        to_vectors = regrouped(gradient[..., : 4 * of_vectors].contiguous(), of_vectors)
        to_vectors[:, :3, : ctx.heads * of_vectors].neg_()
        to_scalars = gradient[..., 4 * of_vectors :].flatten(1)
        # To the scale of each head.
        slope = (to_vectors * vectors).sum(1) @ _sums(groups, of_vectors, vectors)
        slope.add_((to_scalars * scalars).unflatten(1, (groups, of_scalars)).sum(-1))
        cube = root.pow(3)
        to_factor = (slope * cube).sum(-1, keepdim=True).mul_(ctx.epsilon)
        inner = slope.mul_(cube).mul_(factor.pow(3).mul_(-1 / (of_vectors + of_scalars)))
        scale = root * factor
        to_vectors.mul_(_spread(scale, of_vectors)[:, None])
        to_vectors.add_(_flipped(vectors * products.sign().mul_(_spread(inner, of_vectors))[:, None]))
        to_scalars = to_scalars * _spread(scale, of_scalars)
        return to_vectors, to_scalars.addcmul_(scalars, _spread(inner, of_scalars)), to_factor, None, None


def _sums(groups: int, size: int, like: Tensor) -> Tensor:
    """(groups size, groups) of zeros and ones: sums over neighbours as a matrix product."""
    return torch.eye(groups, dtype=like.dtype).repeat_interleave(size, 0)


def _spread(x: Tensor, size: int) -> Tensor:
    """(n, groups) to (n, groups size), each number repeated."""
    spread: Tensor = x[..., None].expand(-1, -1, size).flatten(1)
    return spread


def _scale_vectors(vectors: Tensor, scale: Tensor, out: Tensor, heads: int, run: int) -> None:
    """Vectors times the scale of their head, the metric in the queries, in the order (head, component, channel)."""
    scaled = vectors * _spread(scale, run)[:, None]
    scaled[:, :3, : heads * run].neg_()
    out.copy_(regrouped(scaled, run))


def heads_first(weight: Tensor, heads: int) -> Tensor:
    """Rows (3 h H, K) of a projection with the head as the fastest index to rows (3 H h, K)."""
    rows: Tensor = weight.unflatten(0, (3, -1, heads)).transpose(1, 2).flatten(0, 2)
    return rows


def queries_keys_values(
    attention: "Attention", norm: "Norm", vectors: Tensor, scalars: Tensor, epsilon: float
) -> Tensor:
    """What the heads of an attention compare, (n, 3 H d), of streams that are not normalised yet."""
    scale = factor(vectors, scalars, epsilon)
    weights = [
        heads_first(layer.weight if gain is None else layer.weight * gain, attention.heads)
        for layer, gain in ((attention.in_vectors, norm.vectors), (attention.in_scalars, norm.scalars))
    ]
    projected = (functional.linear(x, weight) for x, weight in zip((vectors, scalars), weights, strict=True))
    found: Tensor = _Heads.apply(*projected, scale, attention.heads, epsilon)
    return found


class _Gated(autograd.Function):
    """GELU(g) p, of which the gate comes second: (n, 2 S) to (n, S)."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        """By the sigmoid, of which torch has a faster one than of tanh."""
        inner, gate = both.chunk(2, -1)
        ctx.save_for_backward(both)
        return _sigmoid(gate).mul_(gate).mul_(inner)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        inner, gate = both.chunk(2, -1)
        found = torch.empty_like(both)
        to_inner, to_gate = found.chunk(2, -1)
        share = _sigmoid(gate)
        # d GELU = share + gate share (1 - share) (1 + 3 CUBE gate^2) SLOPE
        slope = gate.square().mul_(3 * CUBE * SLOPE).add_(SLOPE).mul_(gate).mul_(1 - share).add_(1).mul_(share)
        torch.mul(share.mul_(gate), gradient, out=to_inner)
        torch.mul(slope.mul_(inner), gradient, out=to_gate)
        return found


def _sigmoid(gate: Tensor) -> Tensor:
    """GELU(gate) / gate."""
    return gate.square().mul_(CUBE * SLOPE).add_(SLOPE).mul_(gate).sigmoid_()


class _GatedVectors(autograd.Function):
    """f sigmoid(f^2 <g, g'> / 2) p, of three chunks p, g, g' that are not scaled yet."""

    @staticmethod
    def forward(ctx: Any, chunks: Tensor, factor: Tensor) -> Tensor:
        """(n, 4, 3 C) and (n, 1) to (n, 4, C)."""
        inner, first, second = chunks.chunk(3, -1)
        products = _products(first, second)
        share = (products * (0.5 * factor.square())).sigmoid_()
        ctx.save_for_backward(chunks, factor, products, share)
        return inner * (share * factor)[:, None]

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        chunks, factor, products, share = ctx.saved_tensors
        inner, first, second = chunks.chunk(3, -1)
        found = torch.empty_like(chunks)
        to_inner, to_first, to_second = found.chunk(3, -1)
        torch.mul(gradient, (share * factor)[:, None], out=to_inner)
        slope = (gradient * inner).sum(1)
        # Of the sigmoid's argument, f^2 <g, g'> / 2.
        inside = (slope * factor).mul_(share).mul_(1 - share)
        to_factor = (slope * share).add_(inside * products * factor).sum(-1, keepdim=True)
        scale = _metric(inside.mul_(0.5 * factor.square()))
        torch.mul(scale, second, out=to_first)
        torch.mul(scale, first, out=to_second)
        return found, to_factor


def _metric(x: Tensor) -> Tensor:
    """(n, C) to (n, 4, C) with the signs of the metric."""
    return torch.stack([-x, -x, -x, x], 1)


def feed_forward(
    layer: "GatedLinear", norm: "Norm", vectors: Tensor, scalars: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """What the feed-forward network of version 2 adds to both streams, which are not normalised yet."""
    scale = factor(vectors, scalars, epsilon)
    weight = layer.in_scalars.weight if norm.scalars is None else layer.in_scalars.weight * norm.scalars
    inner: Tensor = _Gated.apply(functional.linear(scalars * scale, weight, layer.in_scalars.bias))
    scalars = layer.out_scalars(inner)
    if layer.in_vectors is None or layer.out_vectors is None:
        return torch.zeros_like(vectors), scalars
    weight = layer.in_vectors.weight if norm.vectors is None else layer.in_vectors.weight * norm.vectors
    gated: Tensor = _GatedVectors.apply(functional.linear(vectors, weight), scale)
    return layer.out_vectors(gated), scalars
