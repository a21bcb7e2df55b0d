"""A training that was killed goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.system.lock import locked
from jetloom.training.module import Tagger
from tests.support.kills import OFTEN, Killed, die_after
from tests.support.outcome import assert_same, history
from tests.support.trainings import OPTIONS

pytestmark = pytest.mark.seconds

RECIPES = {
    "ranger": {"optimizer": "ranger"},
    "adamw, cosine": {"optimizer": "adamw", "warmup_fraction": 0.2},
    "part of the set": {"samples_per_epoch": 500, "validation_samples": 100, "schedule": "flat_decay", "epochs": 4},
    "phases": {"batch_phases": [(64, 1), (96, 2)], "optimizer": "adam", "patience": 1, "monitor": "loss"},
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_goes_on_exactly(run_training, monkeypatch, recipe) -> None:
    whole = run_training("whole", **recipe)
    # In the first epoch, at its end, in mid-Lookahead of a later one.
    for saves in (1, 4, 14):
        with monkeypatch.context() as patch:
            die_after(patch, saves)
            with pytest.raises(Killed):
                run_training(f"killed{saves}", checkpoint_minutes=OFTEN, **recipe)
        assert not (whole.parent / f"killed{saves}").exists()
        resumed = run_training(f"killed{saves}", **recipe)
        assert_same(whole, resumed)
        assert json.loads((resumed / "training.json").read_text())["resumed"] == 1


def test_killed_before_the_outputs_appear(run_training, monkeypatch) -> None:
    whole = run_training("whole")
    with monkeypatch.context() as patch:
        patch.setattr("jetloom.training.train._move", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run_training("killed")
    assert_same(whole, run_training("killed"))


def command(manifest, tmp_path, name: str, epochs: int = 25, *more: str) -> list[str]:
    options = [f"--option={key}={json.dumps(value)}" for key, value in OPTIONS.items()]
    recipe = [
        f"--set=epochs={epochs}",
        "--set=batch_size=64",
        "--set=optimizer=ranger",
        f"--set=checkpoint_minutes={OFTEN}",
    ]
    return [
        *(str(Path(sys.executable).with_name("jetloom")), "train", str(manifest)),
        *("--model=transformer", "--title=Small", "--threads=1", "--seed=1", *options, *recipe, *more),
        *(f"--output={tmp_path / name}", f"--scratch={tmp_path / name}-scratch"),
    ]


def wait_for_a_mid_epoch(path, process: subprocess.Popen, position: int = 2) -> None:
    for _ in range(6000):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
        if path.is_file():
            progress = torch.load(path, weights_only=True)["progress"]
            if progress["epoch"] >= 1 and progress["position"] >= position:
                return
    raise AssertionError("no checkpoint in two minutes")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_killed_process(run_training, manifest, tmp_path, number) -> None:
    process = subprocess.Popen(command(manifest, tmp_path, "killed"), stdout=-1, stderr=subprocess.STDOUT, text=True)
    wait_for_a_mid_epoch(tmp_path / "killed-scratch" / "last.ckpt", process)
    with pytest.raises(JetloomError, match=f"process {process.pid} on .* trains here"):
        run_training("killed", epochs=25)
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), said
    assert not (tmp_path / "killed").exists()
    assert_same(run_training("whole", epochs=25), run_training("killed", epochs=25))


@pytest.mark.parametrize("where", ["training_step", "validation_step"])
@pytest.mark.parametrize("batch", [0, 1, -1])
def test_sigterm_never_ends_with_success(run_training, monkeypatch, where: str, batch: int) -> None:
    """Also during a validation and in the last step of an epoch, where Lightning itself would end with 0."""
    whole = run_training("whole")
    step = getattr(Tagger, where)

    def step_and_signal(self, data, index):
        # Steps of a training come in runs.
        last = {"training_step": self.trainer.num_training_batches - 1, "validation_step": 1}[where]
        if self.progress.epoch == 1 and index == (last if batch < 0 else batch):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, data, index)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Tagger, where, step_and_signal)
        with pytest.raises(SystemExit) as ended:
            run_training("ended")
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert not (whole.parent / "ended").exists()
    assert_same(whole, run_training("ended"))


def test_not_twice_at_once(run_training, tmp_path) -> None:
    with locked(tmp_path / "a-scratch"), pytest.raises(JetloomError, match="trains here"):
        run_training("a")
    assert run_training("a").is_dir()


@pytest.mark.slow
def test_two_processes(manifest, tmp_path) -> None:
    """DDP: both see their own half of each batch, stop at the same step, and go on exactly."""
    two = ("--set=devices=2", "--set=batch_size=32", "--set=optimizer=adamw")

    def call(name: str, epochs: int) -> subprocess.Popen:
        line = command(manifest, tmp_path, name, epochs, *two)
        return subprocess.Popen(line, stdout=-1, stderr=subprocess.STDOUT, text=True)

    whole = call("whole", 20)
    said, _ = whole.communicate(timeout=120)
    assert whole.returncode == 0, said
    steps = [int(row["step"]) for row in history(tmp_path / "whole")]
    assert steps == [10 * epoch for epoch in range(1, 21)]

    ended = call("ended", 20)
    wait_for_a_mid_epoch(tmp_path / "ended-scratch" / "last.ckpt", ended, position=1)
    ended.terminate()
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 143, said
    assert not (tmp_path / "ended").exists()
    again = call("ended", 20)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert said.count("Going on at epoch") == 1
    assert_same(tmp_path / "whole", tmp_path / "ended")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SLURM_STEP_NUM_TASKS": "3"}, "srun started 3 processes on 1 machines"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2"}, "srun started 2 processes on 2 machines"),
    ],
)
def test_wrong_number_of_processes(run_training, monkeypatch, environment: dict[str, str], message: str) -> None:
    """A cluster that starts others than asked for would train on a part of the data."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(JetloomError, match=f"is 2 x 1, but {message}"):
        run_training(devices=2)
