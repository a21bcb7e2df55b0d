"""Trainings on a few labelled jets."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from jetloom.config import TaskChoice, Training, monitor_of
from jetloom.errors import JetloomError
from jetloom.training.datamodule import Tensors
from jetloom.training.progress import Progress
from tests.support.kills import OFTEN, Killed, die_after
from tests.support.outcome import assert_same, history

ALONE = SimpleNamespace(global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=SimpleNamespace(type="cpu")))
"""What a loader asks of a trainer."""


@pytest.mark.seconds
def test_few_labels_make_as_many_steps_as_all(run_training, capsys) -> None:
    whole, few = run_training("whole"), run_training("few", labelled_jets=31)
    assert [row["step"] for row in history(few)] == [row["step"] for row in history(whole)]
    assert "Labels of 30 training jets, 10 of each class" in capsys.readouterr().out
    facts = json.loads((few / "training.json").read_text())
    assert facts["training"]["labelled_jets"] == 31
    assert (
        facts["identity"]["made_from"]["recipe"]
        != json.loads((whole / "training.json").read_text())["identity"]["made_from"]["recipe"]
    )


@pytest.mark.seconds
def test_all_is_the_same_training(run_training) -> None:
    first, second = run_training("plain"), run_training("all", labelled_jets="all")
    assert_same(first, second)
    identities = [json.loads((path / "training.json").read_text())["identity"] for path in (first, second)]
    assert identities[0] == identities[1]


@pytest.mark.parametrize(
    ("recipe", "jets"),
    [
        ({}, 150),
        ({"labelled_jets": 30}, 30),
        ({"labelled_jets": 300}, 75),
        ({"labelled_jets": 30, "validation": "full"}, 150),
        ({"labelled_jets": 30, "validation_samples": 100}, 150),
    ],
)
def test_validation_jets_follow_the_labelled_ones(manifest: Path, recipe: dict, jets: int) -> None:
    training = Training(**recipe)
    data = Tensors(manifest, Progress(training, monitor_of(training, [TaskChoice(name="classification")])), seed=4)
    data.trainer = ALONE
    loader = data.val_dataloader()
    loader.samples_per_epoch = None
    assert sum(len(batch.label) for batch in loader) == jets


@pytest.mark.seconds
def test_a_killed_one_goes_on_exactly(run_training, monkeypatch) -> None:
    whole = run_training("whole", labelled_jets=60)
    for saves in (1, 14):
        with monkeypatch.context() as patch:
            die_after(patch, saves)
            with pytest.raises(Killed):
                run_training(f"killed{saves}", checkpoint_minutes=OFTEN, labelled_jets=60)
        assert_same(whole, run_training(f"killed{saves}", labelled_jets=60))


def test_reweighting_is_refused_beside_it() -> None:
    with pytest.raises(
        ValueError, match="labelled_jets: 100 jets are equally many of each class; leave reweighting out"
    ):
        Training(labelled_jets=100, reweighting={})


def test_more_than_there_are_is_one_line(run_training, tmp_path: Path) -> None:
    with pytest.raises(JetloomError, match="labelled_jets: 3,000 are 1,000 of each of 3 classes, but QCD has"):
        run_training(labelled_jets=3000)
    assert not (tmp_path / "a").exists()
