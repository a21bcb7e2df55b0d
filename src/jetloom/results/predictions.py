"""Answers for a test split, read from their file piece by piece, so that a report of any size fits into memory."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROWS = 2**19
"""Jets whose answers are in memory at once."""


class Columns(Mapping[str, NDArray[Any]]):
    """Columns of a Parquet file by name, (N,) each; one is read whenever it is asked for, and none is kept."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._names = names

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        with pq.ParquetFile(self._path) as file:
            column: NDArray[Any] = file.read([name]).column(0).to_numpy()
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Predictions:
    """A ``predictions.parquet``: what the task wrote for each of N jets, their label and their observers.

    Args:
        path: the file.
    """

    prefix = ""
    """How the outputs begin that this reader is about; a training may have several tasks."""

    def __init__(self, path: Path) -> None:
        schema = pq.read_schema(path)
        facts = json.loads((schema.metadata or {}).get(b"jetloom", b"null")) or {}
        outputs = facts.get("columns") or [name for name in schema.names if name.startswith("score_")]
        self._written = set(outputs)
        self._path = path
        self.columns = Columns(path, schema.names)
        """Everything in the file by name, (N,) each."""
        self.outputs = tuple(name for name in outputs if name.startswith(self.prefix))
        """Columns that the task wrote, in its order."""

    @property
    def label(self) -> NDArray[np.integer]:
        """(N,) class index."""
        return self.columns["label"]

    @property
    def observers(self) -> Mapping[str, NDArray[np.float32]]:
        """(N,) each: jet_pt and jet_mass in GeV, jet_nparticles and so on."""
        return Columns(self._path, [name for name in self.columns if name not in {"label", *self._written}])

    def parts(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.integer]]]:
        """Outputs (n, K) and labels (n,) of one piece after another, in the order of the file."""
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(ROWS, columns=[*self.outputs, "label"]):
                outputs = np.stack([batch.column(name).to_numpy() for name in self.outputs], axis=1)
                yield outputs, batch.column("label").to_numpy()
