"""The rows of the registry as small models with weights that look trained."""

import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.catalogue import cards
from jetloom.models import build
from tests.models.jets import random_jets, random_points, random_tokens

CLASSES = 10
LONGEST = {"jets": 32, "points": 64, "tokens": 32}
"""max_particles: widest input of these tests."""

ROWS = [(name, kind) for name in cards.names("models") for kind in cards.model_card(name).inputs]
JETS = [row for row in ROWS if row[1] == "jets"]


def preset_of(name: str, kind: str) -> str:
    """The small preset: point clouds may need another one than jets."""
    own = f"tiny_{kind}"
    return own if own in cards.model_card(name).presets else "tiny"


INPUTS = {"jets": 17, "points": 3, "tokens": 40}
"""n_features; of tokens how many codes there are."""


def sample(kind: str, number: int = 4, seed: int = 0) -> Batch:
    if kind == "tokens":
        return random_tokens(number, 24, codes=INPUTS["tokens"], seed=seed)
    return random_jets(number, 24, seed=seed) if kind == "jets" else random_points(number, LONGEST[kind], seed=seed)


def make(name: str, kind: str) -> nn.Module:
    """A model in evaluation mode whose scales, offsets and running statistics are not at their initial values."""
    torch.manual_seed(1)
    model = build(
        name,
        n_features=INPUTS[kind],
        n_classes=CLASSES,
        max_particles=LONGEST[kind],
        preset=preset_of(name, kind),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
        model.train()
        for seed in range(3):
            model(sample(kind, 16, seed))
    return model.eval()


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * max(1.0, expected.abs().max().item()))
