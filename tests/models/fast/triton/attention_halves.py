"""What stands before and behind the attention of a block, beside the formula in double precision."""

import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from jetloom.models.fast.triton import WANTED, linear_norm_residual, norm_linear
from jetloom.models.layers.normformer import NormFormerBlock
from tests.models.fast.triton import DROPPED, off

SHAPES = {"two tiles": (70, 16), "odd widths": (130, 28), "one particle": (1, 28), "no particle": (0, 16)}
"""Rows and D."""
HEADS = 4


def block(width: int, dropout: float = 0.0) -> NormFormerBlock:
    """A block with random scales and shifts."""
    torch.manual_seed(7)
    module = NormFormerBlock(width, HEADS, 1, "weaver0.4", dropout)
    for parameter in (*module.pre_attn_norm.parameters(), *module.post_attn_norm.parameters(), module.c_attn):
        nn.init.uniform_(parameter, 0.5, 2.0)
    for bias in (module.attn.in_proj_bias, module.attn.out_proj.bias):
        nn.init.normal_(bias)
    return module


def before(module: NormFormerBlock, x: Tensor) -> Tensor:
    """Queries, keys and values."""
    norm, attn = module.pre_attn_norm, module.attn
    return linear(layer_norm(x, x.shape[-1:], norm.weight, norm.bias), attn.in_proj_weight, attn.in_proj_bias)


def behind(module: NormFormerBlock, attended: Tensor, x: Tensor, kept: Tensor | float = 1.0) -> Tensor:
    """x and what the heads found, its new channel d H + h being old channel h D / H + d, times the scale of head h."""
    norm, out_proj = module.post_attn_norm, module.attn.out_proj
    by_head = linear(attended, out_proj.weight, out_proj.bias).unflatten(-1, (HEADS, -1))
    scaled = torch.einsum("nhd,h->ndh", by_head, module.c_attn).flatten(1)
    return x + kept * layer_norm(scaled, scaled.shape[-1:], norm.weight, norm.bias)


def seeded(function: Callable[..., Tensor], *given: Tensor) -> Tensor:
    """By the kernels, with the same random numbers every time."""
    torch.manual_seed(5)
    asked = [
        patch.object(room, name, wraps=getattr(room, name))
        for room, name in ((norm_linear, "norm_linear"), (linear_norm_residual, "linear_norm_residual"))
    ]
    with patch.dict(os.environ, {WANTED: "1"}), asked[0] as first, asked[1] as second:
        found = function(*given)
    assert first.called != second.called
    return found


def differences(
    rows: int, module: NormFormerBlock, precision: str, name: str, kept: Tensor | float = 1.0
) -> dict[str, float]:
    """Of the answer and of the gradients of all that comes in and of the parameters."""
    width = module.pre_attn_norm.normalized_shape[0]
    generator = torch.Generator().manual_seed(6)
    # A mean far from zero.
    given = [3 + torch.randn(rows, width, generator=generator) for _ in range(1 if name == "before" else 2)]
    gradient = torch.randn(rows, 3 * width if name == "before" else width, generator=generator)
    found: list[dict[str, Tensor]] = []
    for kernel in (True, False):
        module = module.to(torch.float32 if kernel else torch.float64)
        module.zero_grad()
        own = [x.detach().to(module.c_attn.dtype).requires_grad_() for x in given]
        if kernel:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                by_kernel = module.normed_query_key_value if name == "before" else module.behind_attention
                out = seeded(by_kernel, *own)
        else:
            out = before(module, *own) if name == "before" else behind(module, *own, kept)
        out.backward(gradient.to(out.dtype))
        gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        found.append({"answer": out, **gradients} | {str(number): x.grad for number, x in enumerate(own)})
    return {name: off(value, found[1][name]) for name, value in found[0].items()}


def dropped() -> dict[str, Any]:
    """Dropout with a seed, read off what is added to nothing; and the half with exactly these numbers."""
    rows, width = 70, 28
    module, attended = block(width, DROPPED), torch.randn(70, 28)
    kept = (seeded(module.behind_attention, attended, torch.zeros(rows, width)) != 0).double() / (1 - DROPPED)
    return {
        "part": float((kept == 0).double().mean()),
        "differences": differences(rows, module, "32", "behind", kept.detach()),
    }


def looked() -> dict[str, Any]:
    """Differences by name."""
    found: dict[str, Any] = {
        f"{name} attention, {shape}, {precision}": differences(rows, block(width), precision, name)
        for shape, (rows, width) in SHAPES.items()
        for precision in ("32", "bf16")
        for name in ("before", "behind")
    }
    return found | {"behind attention, dropped": dropped()}
