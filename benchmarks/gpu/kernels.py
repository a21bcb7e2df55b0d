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
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from work import Order, Piece

from jetloom.batch import Batch
from jetloom.models import build
from jetloom.models.fast.triton import WANTED
from jetloom.models.part import ParT, ParticleBlock

LIMITS = {"32": 1e-3, "bf16": 0.05}
"""Largest differences of answer, prediction and gradient with and without kernels, relative."""

MODES = {"training": True, "inference": False}


def kernels(order: Order) -> Iterator[Piece]:
    """ParT with and without kernels: the same without dropout, then steps in time, of the network and of layers."""
    size, number = (8, 1) if order.tiny else (512, 2)
    batches = [batch.to(order.card) for batch in rates.jets_of(order.manifest(), size, number, static=True)]
    described = rates.Manifest.read(order.manifest())
    sizes = {"n_features": described.width, "n_classes": len(described.classes)}
    torch.manual_seed(1)
    network = build("part", preset="tiny" if order.tiny else "jetclass", **sizes, dropout=0.0).to(order.card)
    for precision in LIMITS:
        yield f"the same, {precision}", partial(_differences, network, batches[0], precision)
    for precision in LIMITS:
        for what, training in MODES.items():
            steps = partial(_steps, network, batches, precision, training)
            yield f"{what}, {precision}", partial(_times, order, steps, size * number)
    for precision in LIMITS:
        yield from _layers(order, network, batches[0], precision)


def _layers(order: Order, network: nn.Module, batch: Batch, precision: str) -> Iterator[Piece]:
    """Layers on random numbers, as many as the particles and the pairs of a batch."""
    assert isinstance(network, ParT) and network.pair_embed is not None and batch.length is not None
    block = network.blocks[0]
    assert isinstance(block, ParticleBlock)
    length = batch.length
    particles = torch.randn(int(length.sum()), network.particle_width, device=order.card)
    pairs = torch.randn(int((length * (length + 1) // 2).sum()), 4, device=order.card)
    for name, layer, x in (
        ("before attention", block.normed_query_key_value, particles),
        ("behind attention", lambda x: block.behind_attention(x, x), particles),
        ("feed-forward half", block.feed_forward, particles),
        ("pair embedding", partial(network.pair_embed, real=None), pairs),
    ):
        for what, training in MODES.items():
            steps = partial(_passes, network, layer, x, precision, training)
            yield f"{name}, {what}, {precision}", partial(_times, order, steps, len(length))


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
            with torch.no_grad():
                prediction = _answer(model.eval(), batch, precision)
        found.append({"answer": answer.detach(), "prediction": prediction, "gradient": gradient})
    formulas, kernels = found
    off = {
        name: float((kernels[name] - formulas[name]).abs().max() / formulas[name].abs().max())
        for name in ("answer", "prediction")
    }
    off["gradient"] = float((kernels["gradient"] - formulas["gradient"]).norm() / formulas["gradient"].norm())
    return {"right": all(value < LIMITS[precision] for value in off.values())} | off


def _steps(network: nn.Module, batches: list[Batch], precision: str, training: bool) -> None:
    network.train(training)
    with torch.set_grad_enabled(training):
        for batch in batches:
            answer = _answer(network, batch, precision)
            if training:
                cross_entropy(answer, batch.labels).backward()
                network.zero_grad()


def _passes(network: nn.Module, layer: Callable[[Tensor], Tensor], x: Tensor, precision: str, training: bool) -> None:
    """Of one layer of the network, forward and, in training, backward."""
    network.train(training)
    x = x.detach().requires_grad_(training)
    mixed = torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.set_grad_enabled(training):
        with mixed:
            out = layer(x)
        if training:
            out.backward(out.detach())
            network.zero_grad()


def _times(order: Order, steps: Callable[[], None], jets: int) -> dict[str, Any]:
    """Jets/s of steps that take so many, with and without kernels."""

    def work(yes: bool) -> Callable[[], None]:
        def some() -> None:
            with wanted(yes):
                steps()

        return some

    contenders = {"formulas": work(False), "kernels": work(True)}
    rounds = {"rounds": 1, "warm_up": 0} if order.tiny else {"rounds": ROUNDS, "warm_up": 2}
    timings = interleaved(contenders, **rounds, device=order.card)
    return {name: jets / timing.median for name, timing in timings.items()} | {
        "seconds": {name: timing.rounds for name, timing in timings.items()}
    }
