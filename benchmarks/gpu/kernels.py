"""The kernels in Triton: whether they say on the card what the formulas say, and whether they pay."""

import copy
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import rates
import torch
from measure import ROUNDS, interleaved
from torch import nn
from torch.nn.functional import cross_entropy
from work import Order, Piece

from jetloom.batch import Batch
from jetloom.models import build
from jetloom.models.fast.triton import WANTED

LIMITS = {"32": 1e-3, "bf16": 0.05}
"""Largest differences of answer and gradient with and without kernels, relative."""


def kernels(order: Order) -> Iterator[Piece]:
    """ParT with and without kernels: the same without dropout, then a step of each in time."""
    size, number = (8, 1) if order.tiny else (512, 2)
    batches = [batch.to(order.card) for batch in rates.jets_of(order.manifest(), size, number, static=True)]
    described = rates.Manifest.read(order.manifest())
    sizes = {"n_features": described.width, "n_classes": len(described.classes)}
    torch.manual_seed(1)
    network = build("part", preset="tiny" if order.tiny else "jetclass", **sizes, dropout=0.0).to(order.card)
    for precision in LIMITS:
        yield f"the same, {precision}", partial(_differences, network, batches[0], precision)
    for precision in LIMITS:
        for training in (True, False):
            what = "training" if training else "inference"
            yield f"{what}, {precision}", partial(_times, order, network, batches, precision, training)


def wanted(yes: bool) -> Any:
    """As long as it lasts, kernels serve or do not."""
    return patch.dict(os.environ, {WANTED: "1" if yes else "0"})


def _answer(network: nn.Module, batch: Batch, precision: str) -> torch.Tensor:
    with torch.autocast(batch.mask.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: torch.Tensor = network(batch)
    return logits.float()


def _differences(network: nn.Module, batch: Batch, precision: str) -> dict[str, Any]:
    found = []
    for yes in (False, True):
        model = copy.deepcopy(network).train()
        with wanted(yes):
            answer = _answer(model, batch, precision)
            cross_entropy(answer, batch.labels).backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((answer.detach(), gradient))
    answers, gradients = zip(*found, strict=True)
    off = {
        "answer": float((answers[1] - answers[0]).abs().max() / answers[0].abs().max()),
        "gradient": float((gradients[1] - gradients[0]).norm() / gradients[0].norm()),
    }
    return {"right": all(value < LIMITS[precision] for value in off.values())} | off


def _times(order: Order, network: nn.Module, batches: list[Batch], precision: str, training: bool) -> dict[str, Any]:
    model = copy.deepcopy(network).train(training)

    def work(yes: bool) -> Callable[[], None]:
        def steps() -> None:
            with wanted(yes), torch.set_grad_enabled(training):
                for batch in batches:
                    answer = _answer(model, batch, precision)
                    if training:
                        cross_entropy(answer, batch.labels).backward()
                        model.zero_grad()

        return steps

    contenders = {"formulas": work(False), "kernels": work(True)}
    rounds = {"rounds": 1, "warm_up": 0} if order.tiny else {"rounds": ROUNDS, "warm_up": 2}
    timings = interleaved(contenders, **rounds, device=order.card)
    jets = sum(len(batch.labels) for batch in batches)
    return {name: jets / timing.median for name, timing in timings.items()} | {
        "seconds": {name: timing.rounds for name, timing in timings.items()}
    }
