"""What a training left behind, for comparison with another one."""

import csv
from pathlib import Path

import torch

from jetloom.training.checkpoint import load


def history(output: Path) -> list[dict[str, str]]:
    """Rows of history.csv without the time they took."""
    with (output / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same(a: Path, b: Path) -> None:
    """The same curve and the same best weights, bit for bit."""
    assert history(a) == history(b)
    first, second = load(a / "best.ckpt"), load(b / "best.ckpt")
    assert first["epoch"] == second["epoch"]
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
