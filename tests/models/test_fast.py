"""Kernels against the formulas: every row of the registry, with and without, and who may ask how a network is run."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from jetloom import models
from jetloom.batch import Batch
from jetloom.catalogue.options import options
from jetloom.models import build, fast
from jetloom.models.network import Encoded, Network
from tests.models.jets import random_jets
from tests.models.rows import CLASSES, INPUTS, LONGEST, ROWS, make, preset_of, sample


def without_dropout(name: str, kind: str) -> Network:
    """A row in training whose formula and kernels, which draw other numbers, drop nothing."""
    torch.manual_seed(1)
    known = {"dropout": 0.0} if "dropout" in options(name) else {}
    return build(
        name,
        n_features=INPUTS[kind],
        n_classes=CLASSES,
        max_particles=LONGEST[kind],
        preset=preset_of(name, kind),
        **known,
    ).train()


def step(row: tuple[str, str], batch: Batch) -> dict[str, torch.Tensor]:
    """Logits, gradients and running statistics of one step of training."""
    model = without_dropout(*row)
    torch.manual_seed(2)
    logits = model(batch)
    cross_entropy(logits, batch.label).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"logits": logits.detach(), **gradients, **dict(model.named_buffers())}


def agree(found: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * scale, msg=lambda text: f"{name}: {text}")


@pytest.mark.seconds
@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_kernels_give_what_the_formulas_give(row):
    """Outputs, gradients and running statistics in training, predictions and encodings outside."""
    batch = sample(row[1], 16, 3)
    with fast.off():
        expected = step(row, batch)
    found = step(row, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            agree(found[name], value, name)

    model, many = make(*row), sample(row[1], 300, 4)
    with torch.no_grad():
        with fast.off():
            logits, encoded = model(many), model.run(model.encode, many).in_place(many.mask.shape[1])
        agree(model(many), logits, "logits")
        encoded_fast = model.run(model.encode, many).in_place(many.mask.shape[1])
    agree(encoded_fast.jet, encoded.jet, "jet")
    assert torch.equal(encoded_fast.mask, encoded.mask)
    if encoded.particles is not None:
        agree(encoded_fast.particles, encoded.particles, "particles")


@torch.no_grad()
@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_what_an_encoder_promises(row):
    """Widths are those it names, padding is zero, and the logits are what the head says of it."""
    model, batch = make(*row), sample(row[1], 5, 1)
    encoded = model.run(model.encode, batch).in_place(batch.mask.shape[1])
    assert encoded.jet.shape == (5, model.jet_width)
    torch.testing.assert_close(model.answer(encoded), model(batch), rtol=1e-5, atol=1e-5)
    assert (encoded.particles is None) == (model.particle_width is None)
    if encoded.particles is not None:
        assert torch.equal(encoded.mask[:, : batch.mask.shape[1]], batch.mask)
        assert encoded.particles.shape == (*encoded.mask.shape, model.particle_width)
        assert not encoded.particles[~encoded.mask].any()
        assert encoded.particles[encoded.mask].any()


class Counts(Network):
    """Says how many particles and slots came at a time."""

    def __init__(self) -> None:
        super().__init__(jet_width=2, particle_width=1)
        self.head = nn.Identity()

    def encode(self, batch: Batch) -> Encoded:
        width = torch.full(batch.mask.shape[:1], batch.mask.shape[1])
        jet = torch.stack([batch.mask.sum(1), width], 1).float()
        return Encoded(batch.mask[..., None].float(), batch.mask, jet, torch.arange(width[0]).expand(batch.mask.shape))


@torch.no_grad()
def test_parts_of_any_function_come_back_in_their_places(monkeypatch):
    monkeypatch.setattr(fast.parts, "SLOTS", 64)
    monkeypatch.setattr(fast.parts, "CACHED", 0)
    batch, model = random_jets(50, 24, seed=1), Counts().eval()
    answer = model.run(lambda some: {"all": model.encode(some), "logits": model(some)}, batch)
    assert torch.equal(answer["all"].mask, batch.mask)
    assert torch.equal(answer["all"].particles[..., 0], batch.mask.float())
    assert torch.equal(answer["all"].order, torch.arange(24).expand(50, 24))
    assert torch.equal(answer["logits"][:, 0], batch.mask.sum(1).float())
    assert answer["logits"][:, 1].min() < 24
    with fast.off():
        assert (model(batch)[:, 1] == 24).all()


def test_other_versions_of_torch_get_no_private_operators(monkeypatch):
    assert fast.private_operators()
    for version, allowed in (
        ("2.10.1", False),
        ("2.11.0+cpu", True),
        ("2.15.3", True),
        ("2.16.0", False),
        ("3.0", False),
    ):
        monkeypatch.setattr(torch, "__version__", version)
        assert fast.private_operators() == allowed


ASKING = (
    r"torch\.compiler|\.device\.type|is_grad_enabled|torch\.autocast|is_autocast|"
    r"torch\.__version__|torch\.ops\.|torch\._\w"
)


def test_only_kernels_ask_how_a_network_is_run():
    root = Path(models.__file__).parent
    for file in root.rglob("*.py"):
        found = re.findall(ASKING, file.read_text())
        assert root / "fast" in file.parents or not found, f"{file.relative_to(root)}: {found}"
