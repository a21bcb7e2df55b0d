"""What names a training in an experiment."""

from typing import NamedTuple


class Run(NamedTuple):
    """One training."""

    dataset: str
    model: str
    seed: int
