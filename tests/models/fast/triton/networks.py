"""Whole networks with the kernels and with the formulas."""

import os
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from jetloom.batch import Batch
from jetloom.models import build
from jetloom.models.fast.triton import (
    WANTED,
    attention,
    feed_forward,
    linear_norm_residual,
    norm_linear,
    pair_embedding,
)
from tests.models.fast.triton import off
from tests.models.jets import random_jets

KERNELS = {
    "part": "norm_linear attend linear_norm_residual feed_forward",
    "part_v3": "attend",
    "transformer": "feed_forward",
}
"""Which kernels serve in training."""
OPTIONS: dict[str, dict[str, Any]] = {"part_v3": {"drop_path": 0.0}, "transformer": {"macaron": True}}


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Two networks with the same weights."""
    torch.manual_seed(1)
    sizes = {"n_features": 17, "n_classes": 10, "preset": "tiny"}
    first, second = (build(name, **sizes, **OPTIONS.get(name, {})) for _ in range(2))
    second.load_state_dict(first.state_dict())
    return first, second


def answer(network: nn.Module, batch: Batch, wanted: bool, kernels: str) -> torch.Tensor:
    """With kernels, of which exactly these serve, or without."""
    rooms = {
        "norm_linear": norm_linear,
        "attend": attention,
        "linear_norm_residual": linear_norm_residual,
        "feed_forward": feed_forward,
        "embedded": pair_embedding,
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {WANTED: str(int(wanted))}))
        asked = {
            name: stack.enter_context(patch.object(room, name, wraps=getattr(room, name)))
            for name, room in rooms.items()
        }
        found: torch.Tensor = network(batch)
    served = {name for name, called in asked.items() if called.called}
    assert served == (set(kernels.split()) if wanted else set()), served
    return found


def learnt(name: str, recorded: bool) -> dict[str, float]:
    """Differences of answer and gradient in training; ``recorded``: shapes know no lengths."""
    networks, batch = pair(name), random_jets(3, 9, shortest=1)
    answers = []
    for network, wanted in zip(networks, (True, False), strict=True):
        with ExitStack() as stack:
            if recorded:
                stack.enter_context(patch("jetloom.models.layers.packing.kernel.serves", lambda *_: False))
            answers.append(answer(network, batch, wanted, KERNELS[name]))
        cross_entropy(answers[-1], batch.labels).backward()
    first, second = (torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]) for m in networks)
    return {"answer": off(*answers), "gradient": off(first, second)}


def predicted(name: str) -> dict[str, float]:
    """Difference of the answer where it is only asked for."""
    batch, kernels = random_jets(3, 9, shortest=1), f"{KERNELS[name]} embedded"
    first, second = (network.eval() for network in pair(name))
    with torch.no_grad():
        answers = answer(first, batch, True, kernels), answer(second, batch, False, kernels)
    return {"answer": off(*answers)}


def looked() -> dict[str, dict[str, float]]:
    """Differences by name."""
    found = {name: learnt(name, recorded=False) for name in KERNELS}
    found |= {f"{name}, predicting": predicted(name) for name in ("part", "part_v3")}
    return found | {"part, padded": learnt("part", recorded=True)}
