"""Trainings that die."""

import pytest

from jetloom.training.callbacks import Checkpoints

OFTEN = 1e-9
"""checkpoint_minutes: after every step."""


class Killed(BaseException):
    """Stands for kill -9 inside this process: no code of ours handles it."""


def die_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """The process ends right after that many ``last.ckpt``."""
    save, count = Checkpoints.save, 0

    def save_and_die(*arguments) -> None:
        nonlocal count
        save(*arguments)
        count += 1
        if count == saves:
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
