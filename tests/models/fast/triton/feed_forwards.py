"""The feed-forward half of a block in one kernel each way, beside the formula in double precision."""

import os
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear

from jetloom.models.fast.triton import WANTED, feed_forward
from jetloom.models.layers.feedforward import FeedForward
from tests.models.fast.triton import DROPPED, off

SHAPES = {
    "two tiles": (70, 16, 64),
    "odd widths": (130, 20, 90),
    "one particle": (1, 20, 90),
    "no particle": (0, 16, 64),
}
"""Rows, D and hidden values."""
Kept = tuple[Tensor, Tensor]
"""Factors of hidden values and of what is added: zero where they were dropped."""


def half(width: int, hidden: int, normformer: bool, dropout: float = 0.0) -> FeedForward:
    """A half with random scales and shifts."""
    torch.manual_seed(4)
    module = FeedForward(width, hidden, dropout, normformer, step=0.5)
    for norm in (layer for layer in module.modules() if isinstance(layer, nn.LayerNorm)):
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.bias)
    if module.residual_scale is not None:
        nn.init.uniform_(module.residual_scale, 0.5, 2.0)
    return module


def by_formula(x: Tensor, module: FeedForward, kept: Kept | None) -> Tensor:
    """x times the scale, and half of W2 LN(GELU(W1 LN(x)))."""
    norm, fc1, inner, fc2 = module.norm, module.fc1, module.hidden_norm, module.fc2
    of_hidden, of_out = kept or (1.0, 1.0)
    hidden = gelu(linear(layer_norm(x, x.shape[-1:], norm.weight, norm.bias), fc1.weight, fc1.bias)) * of_hidden
    if inner is not None:
        hidden = layer_norm(hidden, hidden.shape[-1:], inner.weight, inner.bias)
    scaled = x if module.residual_scale is None else x * module.residual_scale
    return scaled + 0.5 * linear(hidden, fc2.weight, fc2.bias) * of_out


def by_kernel(x: Tensor, module: FeedForward) -> Tensor:
    """What the layer says, with the same random numbers every time."""
    torch.manual_seed(5)
    called = feed_forward.feed_forward
    with patch.dict(os.environ, {WANTED: "1"}), patch.object(feed_forward, "feed_forward", wraps=called) as asked:
        found: Tensor = module(x)
    assert asked.called
    return found


def differences(rows: int, module: FeedForward, precision: str, kept: Kept | None = None) -> dict[str, float]:
    """Of the answer and of the gradients of x and of all parameters."""
    width = module.norm.normalized_shape[0]
    generator = torch.Generator().manual_seed(6)
    # A mean far from zero.
    x, gradient = (torch.randn(rows, width, generator=generator) for _ in range(2))
    found = []
    for kernel in (True, False):
        module = module.to(torch.float32 if kernel else torch.float64)
        module.zero_grad()
        given = (x + 3).to(module.norm.weight.dtype).requires_grad_()
        if kernel:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                out = by_kernel(given, module)
        else:
            out = by_formula(given, module, kept)
        out.backward(gradient.to(out.dtype))
        found.append({"answer": out, "x": given.grad} | {name: p.grad for name, p in module.named_parameters()})
    return {name: off(value, found[1][name]) for name, value in found[0].items()}


def fallen(rows: int, width: int, hidden: int) -> Kept:
    """Which numbers fall, read off a half that adds up hidden values of 1, 2, 4, 8 ... in each of its channels."""
    module = half(width, hidden, normformer=False, dropout=DROPPED)
    with torch.no_grad():
        module.norm.weight.zero_(), module.norm.bias.zero_(), module.fc1.bias.fill_(10.0)
        module.fc2.weight.copy_(2.0 ** torch.arange(hidden).expand(width, -1))
        module.fc2.bias.fill_(1.0)
    factor = 1 / (1 - DROPPED)
    added = by_kernel(torch.zeros(rows, width), module).detach() / (0.5 * factor)
    of_out = added != 0
    sums = (added.amax(1) - 1.0) / (10.0 * factor)
    of_hidden = sums.round().long()[:, None] >> torch.arange(hidden) & 1
    return of_hidden.double() * factor, of_out.double() * factor


def dropped() -> dict[str, Any]:
    """Dropout with a seed: which part falls, and the half with exactly these numbers."""
    rows, width, hidden = 70, 20, 18
    kept = fallen(rows, width, hidden)
    module = half(width, hidden, normformer=True, dropout=DROPPED)
    x = torch.randn(rows, width)
    return {
        "parts": [float((factors == 0).double().mean()) for factors in kept],
        "alike": float((kept[0] == kept[1][:, :hidden]).double().mean()),
        "again": off(by_kernel(x, module), by_kernel(x, module)),
        "differences": differences(rows, module, "32", kept),
    }


def looked() -> dict[str, Any]:
    """Differences by name."""
    found = {
        f"feed-forward, {name}, {precision}, {'normformer' if normformer else 'plain'}": differences(
            rows, half(width, hidden, normformer), precision
        )
        for name, (rows, width, hidden) in SHAPES.items()
        for precision in ("32", "bf16")
        for normformer in (False, True)
    }
    return found | {"feed-forward, dropped": dropped()}
