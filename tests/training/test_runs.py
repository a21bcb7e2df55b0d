"""Runs of batches: the same ones in the same order, and where there are any."""

import os
import signal
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jetloom.config import Training
from jetloom.data.read.loader import Loader
from jetloom.training import datamodule, module
from jetloom.training.module import Tagger
from jetloom.training.runs import LONGEST, SHORT, Runs, longest_on_a_cpu, whole
from tests.support.kills import OFTEN
from tests.support.outcome import assert_same


@pytest.mark.parametrize("done", [0, 4])
def test_runs_hold_what_is_left_of_an_epoch_in_its_order(manifest, done: int) -> None:
    loaders = [Loader(manifest, "train", batch_size=60, shuffle=True, seed=1) for _ in range(2)]
    for loader in loaders:
        loader.load_state_dict({"epoch": 1, "position": done})
    runs = Runs(loaders[0], 3)
    assert (runs.batches, len(runs)) == (10 - done, 4 if not done else 2)
    found, single = list(runs), list(loaders[1])
    assert list(map(len, found)) == ([3, 3, 3, 1] if not done else [3, 3])
    for one, other in zip(chain(*found), single, strict=True):
        assert torch.equal(one.features, other.features)
    # Lightning asks for the next epoch anew.
    assert loaders[0].state_dict() == {"epoch": 2, "position": 0}


@pytest.mark.parametrize(
    ("recipe", "trainer", "expected"),
    [
        ({}, {}, True),
        ({"compile": "graphs"}, {}, True),
        ({"compile": "off"}, {}, False),
        ({"compile": "inductor"}, {}, False),
        ({}, {"device": "cpu"}, True),
        ({"compile": "off"}, {"device": "cpu"}, True),
        ({}, {"device": "mps"}, False),
        ({}, {"device": "cpu", "world_size": 2}, False),
        ({}, {"world_size": 2}, False),
        ({}, {"scaler": object()}, False),
    ],
)
def test_steps_are_whole_in_one_process_without_a_scaler(recipe, trainer: dict[str, Any], expected: bool) -> None:
    stand_in = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(trainer.get("device", "cuda"))),
        world_size=trainer.get("world_size", 1),
        precision_plugin=SimpleNamespace(scaler=trainer.get("scaler")),
    )
    assert whole(stand_in, Training(**recipe)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(10 * SHORT / LONGEST, LONGEST), (10 * SHORT / 3.01, 3), (10 * SHORT * 1.01, 1), (1e6, 1), (0.0, LONGEST)],
)
def test_a_run_on_a_cpu_is_as_long_as_the_last_epoch_was_fast(seconds: float, expected: int) -> None:
    """Ten steps each."""
    history = [{"step": 10.0, "seconds": 1e-9}, {"step": 20.0, "seconds": seconds}]
    assert longest_on_a_cpu(Training(), history) == longest_on_a_cpu(Training(), [history[1] | {"step": 10.0}])
    assert longest_on_a_cpu(Training(), history) == expected
    assert longest_on_a_cpu(Training(checkpoint_minutes=OFTEN), history) == (1 if seconds else LONGEST)


def test_before_the_first_epoch_has_shown_the_pace_runs_are_of_one() -> None:
    assert longest_on_a_cpu(Training(), []) == 1


@pytest.fixture
def in_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batches of each run of a training on the CPU: always of three, however slow this machine is."""
    found, step = list[int](), Tagger.training_step

    def noting(self: Tagger, run: Any, index: int) -> Any:
        found.append(len(run))
        return step(self, run, index)

    monkeypatch.setattr(datamodule, "longest_on_a_cpu", lambda *_: 3)
    monkeypatch.setattr(Tagger, "training_step", noting)
    return found


@pytest.mark.seconds
@pytest.mark.parametrize("optimizer", ["ranger", "adam", "adamw"])
def test_runs_on_a_cpu_learn_bit_for_bit_what_lightning_does(run_training, in_runs, monkeypatch, optimizer) -> None:
    """Clipped, with a schedule, in phases of two batch sizes; each epoch begins a run of its own."""
    recipe = {"optimizer": optimizer, "gradient_clip": 0.1, "schedule": "cosine", "batch_phases": [(64, 2), (96, 1)]}
    runs = run_training("runs", **recipe)
    assert in_runs == [3, 3, 3, 1] * 2 + [3, 3, 2]
    in_runs.clear()
    for room in (datamodule, module):
        monkeypatch.setattr(room, "whole", lambda *_: False)
    assert_same(runs, run_training("lightning", **recipe))
    assert in_runs == [1] * 28


@pytest.mark.seconds
def test_sigterm_in_a_run_on_a_cpu_lets_it_end_and_the_rest_is_the_same(run_training, in_runs, monkeypatch) -> None:
    undisturbed = run_training("undisturbed")
    loss = Tagger._loss

    def with_signal(self: Tagger, batch: Any) -> torch.Tensor:
        if self.progress.step == 14:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch)

    in_runs.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "_loss", with_signal)
        with pytest.raises(SystemExit) as ended:
            run_training("ended")
    assert ended.value.code == 143 and sum(in_runs) == 16
    assert_same(undisturbed, run_training("ended"))
