"""What a training left behind, for comparison with another one."""

import csv
from pathlib import Path

import pytest
import torch

from jetloom.training.checkpoint import load


def history(output: Path) -> list[dict[str, str]]:
    """Rows of history.csv without the time they took."""
    with (output / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same(a: Path, b: Path) -> None:
    """The same curve and the same best weights: bit for bit, and to rounding on a GPU, which adds in any order."""
    exact = not torch.cuda.is_available()
    for first, second in zip(history(a), history(b), strict=True):
        assert first == (second if exact else {name: pytest.approx(float(x), rel=1e-3) for name, x in second.items()})
    first, second = load(a / "best.ckpt"), load(b / "best.ckpt")
    assert first["epoch"] == second["epoch"] or not exact
    tolerance = 0.0 if exact else 1e-3
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(value, second["state_dict"][name], rtol=tolerance, atol=tolerance, msg=name)
