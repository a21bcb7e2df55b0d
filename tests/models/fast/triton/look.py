"""All that is looked at in Triton's interpreter, in one process: ``python -m tests.models.fast.triton.look FILE``."""

from tests.support import triton_interpreter  # noqa: F401  # isort: skip  (before any kernel)

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from jetloom.batch import Batch
from jetloom.models import build, fast
from jetloom.models.fast.triton import WANTED, attention, linear_norm_gelu
from jetloom.models.layers import norm as layers_norm
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.norm import linear_norm_gelu as by_layers
from jetloom.models.layers.packing import Packing
from tests.models.fast.triton import DROPPED
from tests.models.jets import random_jets

LENGTHS = {"odd and one": [5, 1, 17, 0, 3], "many tiles": [67, 33]}
TYPES = {"32": torch.float32, "bf16": torch.bfloat16}


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


def off(found: Any, expected: Any) -> float:
    return float((found.detach().double() - expected.detach().double()).abs().max() / expected.detach().abs().max())


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


def layer(rows: int, widths: tuple[int, int], dtype: torch.dtype, marked: bool) -> dict[str, float]:
    """Linear map, norm and GELU: answer, running statistics, gradients, beside double precision."""
    generator = torch.Generator().manual_seed(2)
    before, after = widths
    # A mean far from zero, and rows that do not count.
    shapes = (rows, before), (after, before), (after,), (rows, after)
    x, weight, bias, gradient = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    real = torch.rand(rows, generator=generator) < 0.7 if marked else None
    found: list[list[Tensor]] = []
    for kernel in (True, False):
        wide = torch.float32 if kernel else torch.float64
        norm = RealBatchNorm(after).to(wide)
        with torch.no_grad():
            norm.weight.copy_(1 + 0.1 * torch.arange(after))
            norm.bias.copy_(0.3 - 0.1 * torch.arange(after))
        given = [(x + 3).to(dtype), weight, bias.float()]
        given = [(value if kernel else value.double()).detach().requires_grad_() for value in given]
        with patch.dict(os.environ, {WANTED: str(int(kernel))}), fast.off() if not kernel else nullcontext():
            assert not kernel or linear_norm_gelu.serves(given[0], norm)
            out = by_layers(*given, norm, real)
        out.backward(gradient.to(out.dtype))
        found.append([out, norm.running_mean, norm.running_var])
        found[-1] += [value.grad for value in (given[0], given[1], norm.weight, norm.bias) if value.grad is not None]
    names = ("answer", "running mean", "running variance", "x", "weight", "gamma", "beta")
    return {name: off(*pair) for name, *pair in zip(names, *found, strict=True)}


def network(name: str, recorded: bool) -> dict[str, float]:
    """A whole network in training, with the kernels and with the formulas; ``recorded``: shapes know no lengths."""
    torch.manual_seed(1)
    options = {} if name != "part_v3" else {"drop_path": 0.0}
    sizes = {"n_features": 17, "n_classes": 10, "preset": "tiny"}
    networks = [build(name, **sizes, **options) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    batch: Batch = random_jets(3, 9, shortest=1)
    answers = []
    for model, wanted in zip(networks, ("1", "0"), strict=True):
        with patch.dict(os.environ, {WANTED: wanted}):
            calls = attention.attend
            with patch.object(attention, "attend", wraps=calls) as asked:
                if recorded:
                    with patch("jetloom.models.layers.packing.kernel.serves", lambda *_: False):
                        answers.append(model(batch))
                else:
                    answers.append(model(batch))
            assert asked.called == (wanted == "1")
        cross_entropy(answers[-1], batch.labels).backward()
    first, second = (torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]) for m in networks)
    return {"answer": off(*answers), "gradient": off(first, second)}


def main(output: Path) -> None:
    torch.set_num_threads(1)
    # Kernels of a CPU, where these run.
    layers_norm.kernel.serves = lambda *_: False
    found: dict[str, Any] = {
        f"{name}, {precision}, {'padded' if padded else 'packed'}": differences(lengths, dtype, padded)
        for name, lengths in LENGTHS.items()
        for precision, dtype in TYPES.items()
        for padded in ((False, True) if name == "odd and one" else (False,))
    }
    found |= {"dropped": dropped(), "part": network("part", False), "part, padded": network("part", True)}
    found |= {
        f"layer, {precision}, {'marked' if marked else 'all'}": layer(rows, widths, dtype, marked)
        for precision, dtype in TYPES.items()
        for rows, widths, marked in ((300, (4, 20), False), (130, (20, 8), True))
    }
    found["part_v3"] = network("part_v3", False)
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
