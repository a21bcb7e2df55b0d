"""Each architecture learns by the recipe of its tiny preset."""

import json

import pytest

from jetloom.catalogue import cards
from jetloom.config import Training, merge
from jetloom.training.train import train
from tests.support.outcome import history
from tests.support.tensors import write_tensors
from tests.support.trainings import RUN


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    """Jets whose classes lie wide apart."""
    return write_tensors(tmp_path_factory.mktemp("easy"), train=512, val=300, separation=2.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", cards.names("models"))
def test_it_learns(easy, tmp_path, name):
    recipe = cards.model_card(name).presets["tiny"].training
    train(
        easy,
        tmp_path / "run",
        model=name,
        preset="tiny",
        options={},
        training=Training(**merge(recipe, {"epochs": 4, "batch_size": 32})),
        seed=1,
        run=RUN | {"seed": 1},
        scratch=tmp_path / "scratch",
        store=None,
        threads=1,
    )
    rows = history(tmp_path / "run")
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    # A third of the jets is of each class.
    assert json.loads((tmp_path / "run/training.json").read_text())["best"] > 0.5
