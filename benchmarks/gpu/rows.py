"""Each row of the registry on the card beside the CPU: answer and gradient of one batch without dropout."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from work import Order, Piece

from jetloom.batch import Batch
from jetloom.catalogue import cards
from jetloom.data.read.loader import Loader
from jetloom.models import build

CODES, POINTS, CLASSES = 40, 64, 10
EXACT = {"answer": 1e-4, "gradient": 1e-3}
"""Largest differences in single precision, relative to the largest answer and to the length of the gradient."""
HALF = {"answer": 0.1, "gradient": 0.1}
"""The same in bf16, for rows whose presets do not ask for single precision."""
RANDOM = ("reformer",)
"""Rows that draw random numbers in training, other ones on a GPU; only their prediction is compared."""


def rows(order: Order) -> Iterator[Piece]:
    """One piece for each row and kind of input."""
    loader = Loader(order.manifest(), "val", batch_size=4 if order.tiny else 64, shuffle=True, seed=1)
    jets = next(iter(loader))
    names = [(name, kind) for name in cards.names("models") for kind in cards.model_card(name).inputs]
    for name, kind in names[:: 12 if order.tiny else 1]:
        yield f"{name}, {kind}", _row(name, kind, jets, loader.manifest.width, order.card)


def _row(name: str, kind: str, jets: Batch, features: int, card: torch.device) -> Callable[[], dict[str, Any]]:
    return lambda: compared(name, *_input(kind, jets, features), kind, card)


def _input(kind: str, jets: Batch, features: int) -> tuple[Batch, int]:
    """A batch of a kind and its ``n_features``."""
    if kind == "jets":
        return jets, features
    generator = torch.Generator().manual_seed(1)
    number = min(len(jets.mask), 16)
    label = torch.randint(CLASSES, (number,), generator=generator)
    if kind == "points":
        cloud = torch.randn(number, POINTS, 3, generator=generator)
        return Batch(cloud, None, cloud.clone(), torch.ones(number, POINTS, dtype=torch.bool), label), 3
    mask = jets.mask[:number]
    code = torch.randint(CODES, (*mask.shape, 1), generator=generator, dtype=torch.int16)
    return Batch(code.masked_fill(~mask[..., None], 0), None, torch.zeros(*mask.shape, 0), mask, label), CODES


def compared(name: str, batch: Batch, features: int, kind: str, card: torch.device) -> dict[str, Any]:
    """Differences of a small network in single precision and in bf16."""
    torch.manual_seed(1)
    card_of_model = cards.model_card(name)
    preset = f"tiny_{kind}" if f"tiny_{kind}" in card_of_model.presets else "tiny"
    slots = batch.mask.shape[1]
    network = build(name, n_features=features, n_classes=CLASSES, max_particles=slots, preset=preset)
    _without_dropout(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    on_cpu, on_card = copy.deepcopy(network), copy.deepcopy(network).to(card)
    moved = batch.to(card)
    recipes = [preset.training.get("precision") for preset in card_of_model.presets.values()]
    found: dict[str, Any] = {"right": True}
    with torch.no_grad():
        expected, answer = on_cpu.eval()(batch), on_card.eval()(moved)
        found["prediction, answer"] = _relative(answer, expected)
    found["right"] = found["prediction, answer"] < EXACT["answer"]
    expected = on_cpu.train()(batch)
    cross_entropy(expected, batch.labels).backward()
    for precision, limits in (("32", EXACT), ("bf16", HALF)):
        on_card = copy.deepcopy(network).to(card).train()
        with torch.autocast(card.type, torch.bfloat16, enabled=precision == "bf16"):
            answer = on_card(moved)
        cross_entropy(answer.float(), moved.labels).backward()
        differences = {"answer": _relative(answer, expected), "gradient": _gradient(on_card, on_cpu)}
        found |= {f"{precision}, {key}": value for key, value in differences.items()}
        judged = name not in RANDOM and (precision == "32" or not any(recipe == "32" for recipe in recipes))
        # A difference that is no number is never right.
        if judged and not all(value < limits[key] for key, value in differences.items()):
            found["right"] = False
    return found


def _without_dropout(network: nn.Module) -> None:
    for module in network.modules():
        for attribute in ("dropout", "rate", "drop_path", "p"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)


def _relative(answer: Tensor, expected: Tensor) -> float:
    return float((answer.detach().float().cpu() - expected.detach()).abs().max() / expected.detach().abs().max())


def _gradient(network: nn.Module, reference: nn.Module) -> float:
    """Length of the difference over the length of the gradient."""
    pairs = [
        (p.grad.float().cpu(), q.grad)
        for p, q in zip(network.parameters(), reference.parameters(), strict=True)
        if p.grad is not None and q.grad is not None
    ]
    off = sum(float((p - q).square().sum()) for p, q in pairs)
    return float((off / sum(float(q.square().sum()) for _, q in pairs)) ** 0.5)
