"""One training in two processes (gloo on the CPU)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jetloom.data.read.loader import Loader
from jetloom.training.checkpoint import load
from tests.support.outcome import assert_same, history

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "JETLOOM_CPU": "1"}


@pytest.mark.parametrize("world_size", [2, 3])
def test_every_jet_once_over_all_ranks(manifest, world_size: int) -> None:
    loaders = [
        Loader(manifest, "train", batch_size=64, shuffle=True, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len({len(loader) for loader in loaders}) == 1
    seen = np.concatenate([batch.features[:, 0].numpy() for loader in loaders for batch in loader])
    assert len(seen) == 600
    assert len(np.unique(seen, axis=0)) == 600


def command(manifest: Path, tmp_path: Path, name: str, *recipe: str) -> list[str]:
    # A model with neither dropout nor a batch norm, which would see each process' own part.
    options = ["--option=phi=[16, 16]", "--option=f=[16]"]
    return [
        *(sys.executable, "-m", "jetloom.cli", "train", str(manifest), "--model=pfn", "--threads=1"),
        *(f"--output={tmp_path / name}", f"--scratch={tmp_path / name}-scratch", *options),
        *("--set=epochs=3", "--set=monitor=loss"),
        *(f"--set={item}" for item in recipe),
    ]


def train_by_command(*arguments: Any) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.slow
def test_two_processes_train_as_one_with_batches_twice_as_large(manifest, tmp_path) -> None:
    two = train_by_command(manifest, tmp_path, "two", "devices=2", "batch_size=64", "optimizer=ranger")
    assert two.returncode == 0, two.stderr
    one = train_by_command(manifest, tmp_path, "one", "batch_size=128", "optimizer=ranger")
    assert one.returncode == 0, one.stderr
    assert two.stdout.count("epoch 1/3") == 1
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["best.ckpt", "history.csv", "training.json"]
    assert not (tmp_path / "two-scratch").exists()
    rows, expected = history(tmp_path / "two"), history(tmp_path / "one")
    # 300 jets in each of two buckets, 128 at a time.
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == ["6", "12", "18"]
    for row, other in zip(rows, expected, strict=True):
        for column in ("train_loss", "val_loss"):
            assert float(row[column]) == pytest.approx(float(other[column]), rel=1e-4)
        for column, jets in (("train_accuracy", 600), ("val_accuracy", 150)):
            right = float(row[column]) * jets
            # Every jet counted once: the accuracy is a whole number of them.
            assert right == pytest.approx(round(right), abs=1e-6)
            assert right == pytest.approx(float(other[column]) * jets, abs=2.1)
    a, b = (load(tmp_path / name / "best.ckpt")["state_dict"] for name in ("two", "one"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_both_processes_with_one_line(manifest, tmp_path) -> None:
    recipe = ("learning_rate=1.0e+30", "schedule=constant", "optimizer=adam")
    for devices in (1, 2):
        ended = train_by_command(manifest, tmp_path, f"nan{devices}", f"devices={devices}", *recipe)
        assert ended.returncode == 1, ended.stderr
        lines = [line for line in ended.stderr.splitlines() if line.startswith("jetloom:")]
        assert lines and all("the loss is" in line for line in lines), ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (tmp_path / f"nan{devices}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_both_processes_end_at_sigterm_and_go_on_exactly(manifest, tmp_path, precision) -> None:
    recipe = ("devices=2", "batch_size=4", "optimizer=ranger", "epochs=8", "checkpoint_minutes=0.001")
    recipe += (f"precision={precision}",)
    whole = train_by_command(manifest, tmp_path, "whole", *recipe)
    assert whole.returncode == 0, whole.stderr
    arguments = command(manifest, tmp_path, "ended", *recipe)
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=-1, stderr=subprocess.STDOUT, text=True)
    for _ in range(1200):
        if (tmp_path / "ended-scratch" / "last.ckpt").is_file() or process.poll() is not None:
            break
        time.sleep(0.05)
    # Rank 0 alone is told; the ranks agree.
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert not (tmp_path / "ended").exists()
    resumed = train_by_command(manifest, tmp_path, "ended", *recipe)
    assert resumed.returncode == 0, resumed.stderr
    assert "Going on at epoch" in resumed.stdout
    assert_same(tmp_path / "whole", tmp_path / "ended")
