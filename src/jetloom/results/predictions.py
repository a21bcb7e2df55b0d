"""Scores of a test split, read from their file piece by piece, so that a report of any size fits into memory."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROWS = 2**19
"""Jets whose scores are in memory at once."""


class Columns(Mapping[str, NDArray]):
    """Columns of a Parquet file by name, (N,) each; one is read whenever it is asked for, and none is kept."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._names = names

    def __getitem__(self, name: str) -> NDArray:
        if name not in self._names:
            raise KeyError(name)
        with pq.ParquetFile(self._path) as file:
            return file.read([name]).column(0).to_numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Predictions:
    """A ``predictions.parquet``: of N jets only one bit each stays in memory, whether the highest score is right.

    Args:
        path: the file.
        classes: names of the C classes; the position is the label.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._path = path
        self._scores = [f"score_{name}" for name in classes]
        self._columns = Columns(path, pq.read_schema(path).names)

    @property
    def classes(self) -> int:
        """C."""
        return len(self._scores)

    @property
    def label(self) -> NDArray[np.integer]:
        """(N,) class index."""
        return self._columns["label"]

    @property
    def observers(self) -> Mapping[str, NDArray[np.float32]]:
        """(N,) each: jet_pt and jet_mass in GeV, jet_nparticles and so on."""
        return Columns(self._path, [name for name in self._columns if name not in ("label", *self._scores)])

    def score(self, index: int) -> NDArray[np.float32]:
        """(N,) probabilities of one class."""
        return self._columns[self._scores[index]]

    def parts(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.integer]]]:
        """Scores (n, C) and labels (n,) of one piece after another, in the order of the file."""
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(ROWS, columns=[*self._scores, "label"]):
                scores = np.stack([batch.column(name).to_numpy() for name in self._scores], axis=1)
                yield scores, batch.column("label").to_numpy()

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the highest score is that of the true class."""
        bits, jets = self._correct
        return np.unpackbits(bits, count=jets).view(bool)

    @cached_property
    def _correct(self) -> tuple[NDArray[np.uint8], int]:
        right = np.concatenate([scores.argmax(axis=1) == label for scores, label in self.parts()])
        return np.packbits(right), len(right)
