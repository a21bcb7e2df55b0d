"""Attention on packed rows beside its formula in double precision."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from jetloom.models import fast
from jetloom.models.fast.triton import attention
from jetloom.models.layers.packing import Packing
from tests.models.fast.triton import DROPPED, TYPES, off

LENGTHS = {"odd and one": [5, 1, 17, 0, 3], "many tiles": [67, 33]}


def packing_of(lengths: list[int], padded: bool) -> Packing:
    """Of jets; ``padded``: with empty slots, as in a recorded graph, also in the midst of a jet."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    if not padded:
        return Packing(mask, np.array(lengths))
    mask[0, 1] = False
    with fast.off():
        return Packing(mask, None)


def by_formula(rows: Tensor, bias: Tensor, packing: Packing, heads: int, kept: Tensor | None = None) -> Tensor:
    """Attention jet by jet and head by head, in double precision; ``kept`` (N, N) are weights times their factor."""
    found = torch.zeros(len(rows), rows.shape[1] // 3, dtype=rows.dtype)
    first = begin = 0
    dim = found.shape[1] // heads
    for marks in packing.mask:
        slots = len(marks) if packing.real is not None else int(marks.sum())
        real = marks if packing.real is not None else torch.ones(slots, dtype=torch.bool)
        i, j = torch.tril_indices(slots, slots)
        mine = rows[first : first + slots]
        outs = []
        for head in range(heads):
            query, key, value = (mine[:, at : at + dim] for at in range(head * dim, rows.shape[1], heads * dim))
            of_pairs = torch.zeros(slots, slots, dtype=rows.dtype)
            of_pairs[i, j] = of_pairs[j, i] = bias[begin : begin + len(i), head]
            scores = (query @ key.T / dim**0.5 + of_pairs).masked_fill(~real, -torch.inf)
            weights = scores.softmax(1) if real.any() else torch.zeros_like(scores)
            outs.append((weights if kept is None else weights * kept) @ value * real[:, None])
        found[first : first + slots] = torch.cat(outs, 1)
        first, begin = first + slots, begin + len(i)
    return found


def given(packing: Packing, heads: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Random rows (n, 3 D), biases of pairs (P, H) and a gradient (n, D)."""
    generator = torch.Generator().manual_seed(1)
    padded = packing.real is not None
    number = [packing.mask.shape[1]] * len(packing.mask) if padded else packing.mask.sum(1).tolist()
    pairs = sum(n * (n + 1) // 2 for n in number)
    shapes = (sum(number), 3 * heads * dim), (pairs, heads), (sum(number), heads * dim)
    rows, bias, gradient = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return rows.requires_grad_(), bias.requires_grad_(), gradient


def differences(lengths: list[int], dtype: torch.dtype, padded: bool, heads: int = 2, dim: int = 6) -> dict[str, float]:
    """Of answer and gradients, relative to the largest number."""
    packing = packing_of(lengths, padded)
    rows, bias, gradient = given(packing, heads, dim, dtype)
    wide = [x.detach().double().requires_grad_() for x in (rows, bias)]
    found = attention.attend(rows, attention.of_jets(bias, packing), heads, 0.0)
    found.backward(gradient)
    expected = by_formula(*wide, packing, heads)
    expected.backward(gradient.double())
    pairs = {"answer": (found, expected), "rows": (rows.grad, wide[0].grad), "bias": (bias.grad, wide[1].grad)}
    return {name: off(*pair) for name, pair in pairs.items()}


def dropped() -> dict[str, Any]:
    """Dropout: which weights fell is read off an attention whose values are unit vectors, with the same seed."""
    packing, slots = packing_of([16], False), 16
    rows, bias, gradient = given(packing, 1, slots, torch.float32)
    shown = torch.cat([rows.detach()[:, : 2 * slots], torch.eye(slots)], 1)
    triangle = attention.of_jets(bias, packing)

    def seeded(x: Tensor, dropout: float) -> Tensor:
        torch.manual_seed(5)
        return attention.attend(x, triangle, 1, dropout)

    kept = (seeded(shown, DROPPED) / seeded(shown, 0.0)).detach()
    wide = [x.detach().double().requires_grad_() for x in (rows, bias)]
    expected = by_formula(*wide, packing, 1, kept.double())
    expected.backward(gradient.double())
    found = seeded(rows, DROPPED)
    found.backward(gradient)
    factor = 1 / (1 - DROPPED)
    return {
        "neither kept nor dropped": float(torch.minimum(kept.abs(), (kept - factor).abs()).max()),
        "part": float((kept < 0.5).float().mean()),
        "symmetric": bool(((kept < 0.5) == (kept < 0.5).T).all()),
        "again": off(seeded(rows, DROPPED), found),
        "answer": off(found, expected),
        "rows": off(rows.grad, wide[0].grad),
        "bias": off(bias.grad, wide[1].grad),
    }


def looked() -> dict[str, Any]:
    """Differences by name."""
    found = {
        f"{name}, {precision}, {'padded' if padded else 'packed'}": differences(lengths, dtype, padded)
        for name, lengths in LENGTHS.items()
        for precision, dtype in TYPES.items()
        for padded in ((False, True) if name == "odd and one" else (False,))
    }
    return found | {"dropped": dropped()}
