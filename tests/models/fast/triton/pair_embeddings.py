"""Pair embeddings that only predict, in one kernel, beside the formula in double precision."""

import os
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor, nn

from jetloom.models import fast
from jetloom.models.fast.triton import WANTED, pair_embedding
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.pairs import PairEmbedding
from tests.models.fast.triton import off

SHAPES = {
    "as published": ((64, 64, 64), 8, 100),
    "odd widths": ((20, 7), 3, 65),
    "one layer": ((), 2, 1),
    "no pair": ((8,), 2, 0),
}


def used(widths: tuple[int, ...], heads: int, pre_activation: bool) -> PairEmbedding:
    """An embedding whose norms have seen something, for prediction."""
    embedding = PairEmbedding(widths, heads, pre_activation)
    for norm in (layer for layer in embedding.modules() if isinstance(layer, RealBatchNorm)):
        nn.init.normal_(norm.running_mean, std=0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.normal_(norm.bias, std=0.5)
    with torch.no_grad():
        # Logarithms of energies lie far from zero.
        embedding.embed[0].running_mean += 6.0
    return embedding.eval()


def biases(embedding: PairEmbedding, x: Tensor, precision: str, kernel: bool) -> Tensor:
    """What the embedding says, by the kernel or the formula."""
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    asked = patch.object(pair_embedding, "embedded", wraps=pair_embedding.embedded)
    wanted = patch.dict(os.environ, {WANTED: str(int(kernel))})
    with torch.no_grad(), mixed, wanted, asked as calls, nullcontext() if kernel else fast.off():
        found: Tensor = embedding(x, None)
    assert calls.called == kernel
    return found


def differences(precision: str, widths: tuple[int, ...], heads: int, pairs: int, pre_activation: bool) -> float:
    """Of the biases, with both beside double precision; the biases of a head lie side by side."""
    torch.manual_seed(3)
    embedding, x = used(widths, heads, pre_activation), 6.0 + 2.0 * torch.randn(pairs, 4)
    found = biases(embedding, x, precision, kernel=True)
    assert found.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32) and found.t().is_contiguous()
    return off(found, biases(embedding.double(), x.double(), "64", kernel=False))


def looked() -> dict[str, float]:
    """Differences by name."""
    return {
        f"pair embedding, {name}, {precision}{', pre-activation' * pre_activation}": differences(
            precision, *shape, pre_activation
        )
        for name, shape in SHAPES.items()
        for precision in ("32", "bf16")
        for pre_activation in (False, True)
    }
