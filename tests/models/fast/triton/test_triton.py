"""Kernels in Triton against the formulas, in Triton's interpreter; what runs is in ``look.py``, in its own process."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.models import fast
from jetloom.models.fast import triton
from tests.models.fast.triton import DROPPED
from tests.support.look import seen

BESIDE = Path(sys.prefix) / "triton"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What :mod:`tests.models.fast.triton.look` has seen."""
    if not BESIDE.is_dir():
        pytest.skip("no triton: .ci/run says how to install it beside the environment")
    path = f"{BESIDE}:{os.environ.get('PYTHONPATH', '')}"
    return seen("tests.models.fast.triton.look", tmp_path_factory.mktemp("triton"), PYTHONPATH=path)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", ["odd and one, packed", "odd and one, padded", "many tiles, packed"])
@pytest.mark.parametrize(("precision", "error"), [("32", 2e-6), ("bf16", 2e-2)])
def test_attention_is_its_formula_and_so_are_its_gradients(found, lengths, precision, error) -> None:
    name, layout = lengths.rsplit(", ", 1)
    differences = found[f"{name}, {precision}, {layout}"]
    assert max(differences.values()) < error, differences


@pytest.mark.slow
def test_dropout_falls_where_the_backward_pass_thinks(found) -> None:
    result = found["dropped"]
    assert result["neither kept nor dropped"] < 1e-5
    # 256 weights: three standard deviations.
    assert result["part"] == pytest.approx(DROPPED, abs=0.09)
    assert not result["symmetric"]
    assert result["again"] == 0.0
    assert max(result[name] for name in ("answer", "rows", "bias")) < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["all", "marked"])
@pytest.mark.parametrize(("precision", "error"), [("32", 1e-5), ("bf16", 3e-2)])
def test_a_layer_of_the_pair_embedding_is_its_formula(found, rows, precision, error) -> None:
    """Also where the mean is far from zero, and where rows do not count in the statistics."""
    differences = found[f"layer, {precision}, {rows}"]
    assert len(differences) == 7 and max(differences.values()) < error, differences


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["as published", "odd widths", "one layer", "no pair"])
@pytest.mark.parametrize(("precision", "error"), [("32", 2e-6), ("bf16", 3e-2)])
@pytest.mark.parametrize("last", ["", ", pre-activation"])
def test_a_pair_embedding_that_predicts_is_its_formula(found, shape, precision, error, last) -> None:
    assert found[f"pair embedding, {shape}, {precision}{last}"] < error


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["two tiles", "odd widths", "one particle", "no particle"])
@pytest.mark.parametrize(("precision", "error"), [("32", 2e-6), ("bf16", 2e-2)])
@pytest.mark.parametrize(("kind", "number"), [("plain", 8), ("normformer", 11)])
def test_the_feed_forward_half_is_its_formula_and_so_are_its_gradients(
    found, rows, precision, error, kind, number
) -> None:
    differences = found[f"feed-forward, {rows}, {precision}, {kind}"]
    assert len(differences) == number and max(differences.values()) < error, differences


@pytest.mark.slow
def test_dropout_of_the_feed_forward_half_falls_where_the_backward_pass_thinks(found) -> None:
    result = found["feed-forward, dropped"]
    # 1,260 hidden values and 1,400 that are added: three standard deviations.
    assert result["parts"] == pytest.approx([DROPPED, DROPPED], abs=0.04)
    # Independent of each other.
    assert result["alike"] == pytest.approx(DROPPED**2 + (1 - DROPPED) ** 2, abs=0.05)
    assert result["again"] == 0.0
    assert max(result["differences"].values()) < 2e-6, result


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["two tiles", "odd widths", "one particle", "no particle"])
@pytest.mark.parametrize(("precision", "error"), [("32", 2e-6), ("bf16", 2e-2)])
@pytest.mark.parametrize(("name", "number"), [("before", 6), ("behind", 8)])
def test_what_stands_around_the_attention_is_its_formula_and_so_are_its_gradients(
    found, rows, precision, error, name, number
) -> None:
    differences = found[f"{name} attention, {rows}, {precision}"]
    assert len(differences) == number and max(differences.values()) < error, differences


@pytest.mark.slow
def test_dropout_behind_the_attention_falls_where_the_backward_pass_thinks(found) -> None:
    result = found["behind attention, dropped"]
    # 1,960 numbers: three standard deviations.
    assert result["part"] == pytest.approx(DROPPED, abs=0.031)
    assert max(result["differences"].values()) < 2e-6, result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["part", "part, padded", "part_v3", "transformer"])
def test_a_network_learns_the_same(found, name) -> None:
    assert found[name]["answer"] < 1e-5 and found[name]["gradient"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["part", "part_v3"])
def test_a_network_predicts_the_same(found, name) -> None:
    assert found[f"{name}, predicting"]["answer"] < 1e-5


ON_GPU: Any = SimpleNamespace(is_cuda=True, dtype=torch.float32)


def test_kernels_serve_where_they_are_wanted_and_can(monkeypatch) -> None:
    monkeypatch.setattr(triton, "find_spec", lambda name: name)
    monkeypatch.delenv(triton.WANTED, raising=False)
    assert not triton.serves(ON_GPU)
    monkeypatch.setenv(triton.WANTED, "1")
    assert triton.serves(ON_GPU)
    assert not triton.serves(SimpleNamespace(is_cuda=True, dtype=torch.float64))  # type: ignore[arg-type]
    assert not triton.serves(torch.ones(1))
    with fast.off():
        assert not triton.serves(ON_GPU)


@pytest.mark.parametrize(("width", "serves"), [(128, True), (129, False)])
def test_tiles_have_room_for_so_many_channels(monkeypatch, width, serves) -> None:
    monkeypatch.setattr(triton, "find_spec", lambda name: name)
    monkeypatch.setenv(triton.WANTED, "1")
    rows: Any = SimpleNamespace(is_cuda=True, dtype=torch.float32, shape=(5, width))
    assert triton.serves_rows(rows) == serves


def test_without_triton_the_error_says_so(monkeypatch) -> None:
    monkeypatch.setattr(triton, "find_spec", lambda name: None)
    monkeypatch.setenv(triton.WANTED, "1")
    with pytest.raises(JetloomError, match="JETLOOM_TRITON=1 needs the package triton, which is not installed"):
        triton.serves(ON_GPU)
