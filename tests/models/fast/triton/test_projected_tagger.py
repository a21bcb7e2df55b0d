"""SAL-T and Linformer in one kernel: against the formula in Triton's interpreter, and compiled for a card not there."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jetloom.models import build
from jetloom.models.fast.triton import projected_tagger
from tests.models.fast.triton import TAGGERS
from tests.models.fast.triton.test_triton import BESIDE
from tests.support.look import seen

JETS = ["jets", "holes", "longer", "three", "points"]
EXTREME = ["one particle", "two particles", "identical", "collinear", "collinear photons", "massless", "along the beam",
           "zero energy"]  # fmt: skip


def looked(name: str, directory: Path) -> dict[str, Any]:
    """What a module beside this one has seen."""
    if not BESIDE.is_dir():
        pytest.skip("no triton: .ci/run says how to install it beside the environment")
    path = f"{BESIDE}:{os.environ.get('PYTHONPATH', '')}"
    return seen(f"tests.models.fast.triton.{name}", directory, PYTHONPATH=path)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Differences of logits from the formula's in double precision, relative to the largest."""
    return looked("look_projected_tagger", tmp_path_factory.mktemp("tagger"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["salt", "linformer"])
@pytest.mark.parametrize("jets", [*JETS, *EXTREME, "sharp"])
def test_logits_are_those_of_the_formula(found, name, jets) -> None:
    """Several tiles, lengths from none to all slots, more slots than the network, padding between particles, scores
    whose exponentials no float holds.
    """
    assert found[f"{name}, {jets}"] < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what", "options"), TAGGERS)
def test_logits_are_those_of_the_formula_whatever_the_options(found, name, what, options) -> None:
    assert found[f"{name}, {what}"] < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["salt", "linformer"])
@pytest.mark.parametrize(("precision", "error"), [("bf16", 2e-2), ("autocast", 2e-2), ("fp16", 2e-3)])
def test_half_precision_rounds_factors_only(found, name, precision, error) -> None:
    """bf16 has eight bits, 4e-3 of each factor, and fp16 three more."""
    assert found[f"{name}, {precision}"] < error


@pytest.mark.slow
def test_programs_have_enough_registers(tmp_path: Path) -> None:
    """As ptxas compiles them for sm_90: none spills in single precision, in others a few bytes at most."""
    needs = looked("look_sm90", tmp_path)
    assert len(needs) == 12
    for name, need in needs.items():
        assert need["STACK"] <= (0 if name.endswith(", 32") else 16), (name, need)


@pytest.mark.parametrize(("name", "what", "options"), TAGGERS)
def test_what_the_kernel_knows_is_served(monkeypatch, name, what, options) -> None:
    monkeypatch.setattr(projected_tagger, "wanted", lambda x: True)
    network = build(name, n_features=3, n_classes=5, **options)
    x = torch.zeros(1, 4, 3)
    assert not projected_tagger.serves(network, x)
    with torch.no_grad():
        assert projected_tagger.serves(network, x)


@pytest.mark.parametrize("options", [{"layers": 2}, {"partition_by": "real"}, {"d_model": 36}, {"d_ff": 33}, {"p": 16}])
def test_other_networks_keep_the_formula(monkeypatch, options) -> None:
    monkeypatch.setattr(projected_tagger, "wanted", lambda x: True)
    with torch.no_grad():
        assert not projected_tagger.serves(build("salt", n_features=3, n_classes=5, **options), torch.zeros(1, 4, 3))


@pytest.mark.parametrize("head", [nn.Identity(), nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))])
def test_other_heads_keep_the_formula(monkeypatch, head) -> None:
    """Tasks bring their own."""
    monkeypatch.setattr(projected_tagger, "wanted", lambda x: True)
    network = build("salt", n_features=3, n_classes=5)
    network.head = head
    with torch.no_grad():
        assert not projected_tagger.serves(network, torch.zeros(1, 4, 3))
