"""Each architecture learns by the recipe of its tiny preset."""

import json
from pathlib import Path
from typing import Any

import pytest

from jetloom.catalogue import cards
from jetloom.config import Training, merge, resolve_tasks
from jetloom.training.train import train
from tests.support.outcome import history
from tests.support.tensors import write_codes, write_tensors
from tests.support.trainings import RUN


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    """Jets whose classes lie wide apart."""
    return write_tensors(tmp_path_factory.mktemp("easy"), train=512, val=300, separation=2.0)


OF_MOMENTA = ("lgn", "lloca_transformer", "pelican", "pelican_nano")
"""Rows that do not read the feature that tells the classes of the others apart."""


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    """The same, told apart by their momenta too."""
    return write_tensors(tmp_path_factory.mktemp("hard"), train=512, val=300, separation=2.0, hardness=0.5)


TOKENIZERS = [name for name in cards.names("models") if cards.model_card(name).task]


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    """The same as codes."""
    return write_codes(tmp_path_factory.mktemp("codes"), 32, train=512, val=300)


def trained(data: Path, output: Path, name: str, **order: Any) -> Path:
    """Four epochs of the tiny recipe."""
    recipe = cards.model_card(name).presets["tiny"].training
    train(
        data,
        output / "run",
        model=name,
        preset="tiny",
        training=Training(**merge(recipe, {"epochs": 4, "batch_size": 32})),
        seed=1,
        run=RUN | {"seed": 1},
        scratch=output / "scratch",
        threads=1,
        **order,
    )
    return output / "run"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in cards.names("models") if name not in TOKENIZERS])
def test_it_learns(easy, hard, codes, tmp_path, name):
    data = codes if cards.model_card(name).inputs == ["tokens"] else hard if name in OF_MOMENTA else easy
    run = trained(data, tmp_path, name, options={})
    rows = history(run)
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    # A third of the jets is of each class.
    assert json.loads((run / "training.json").read_text())["best"] > 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_learns_by_its_own_task(easy, tmp_path, name):
    tasks = resolve_tasks(cards.model_card(name).task, "task")
    rows = history(trained(easy, tmp_path, name, options={"codes": 64}, tasks=tasks))
    assert float(rows[-1]["train_mse"]) < float(rows[0]["train_mse"])
    assert float(rows[-1]["val_used"]) > 0.5
