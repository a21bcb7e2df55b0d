"""Trainings that die."""

import pytest

from jetloom.training.callbacks import Checkpoints

# Everything is written but not yet in its place: the last moment at which a kill can do harm.
DIES = (
    "import os, signal, sys\nfrom jetloom.system import files\nfrom jetloom.cli import main\n"
    "count, flush = int(sys.argv.pop(1)), files._flush\n"
    "def last(path):\n"
    "    global count\n"
    "    count -= 1\n"
    "    if count:\n"
    "        return flush(path)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
    "files._flush = last\nmain(sys.argv[1:])\n"
)
"""A program whose arguments are the number of the file after which it dies, and those of a verb."""
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
