"""Finished trainings as tables and figures are made of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.config import arm_of
from jetloom.errors import JetloomError
from jetloom.results.predictions import Predictions

P = TypeVar("P", bound=Predictions)


@dataclass(frozen=True)
class Task:
    """What a training was for."""

    name: str
    settings: Mapping[str, Any]


def task_of(content: Mapping[str, Any]) -> Task:
    """The task of a ``metrics.json`` or ``training.json``; files that name none are of taggers."""
    task = content.get("task") or {"name": "classification"}
    return Task(task["name"], task.get("settings") or {})


class Made(NamedTuple):
    """Jets that a training made, beside those that they should be like."""

    closeness: dict[str, Any]
    """Content of ``closeness.json``."""
    file: Path
    """``observables.parquet``."""

    def observables(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """An observable of the jets that were made, and of the reference; what is not defined is left out."""
        table = pq.read_table(self.file, columns=["reference", name])
        of_reference, values = table["reference"].to_numpy() == 1, table[name].to_numpy()
        known = np.isfinite(values)
        return values[known & ~of_reference], values[known & of_reference]


@dataclass(frozen=True)
class Result:
    """One training and its evaluation on one task."""

    seed: int
    metrics: dict[str, Any]
    """Content of ``metrics.json``, of an auxiliary task with its own values; empty: the training has no evaluation."""
    training: dict[str, Any]
    history: dict[str, NDArray[np.float64]]
    predictions_file: Path | None
    examples: dict[str, Any] | None = None
    """A few jets and what the model looks at in them; None: not stored."""
    made: tuple["Made", ...] = ()
    """Data sets that this training made and that should be like others."""
    auxiliary: bool = False
    """Of a task that the training had beside its main one."""

    @property
    def predictions(self) -> Predictions:
        """Answers for the test split."""
        return self.read(Predictions)

    def read(self, kind: type[P]) -> P:
        """The predictions as the reader of a task has them; there is one of each kind, with all that it remembers.

        Raises:
            JetloomError: the training has no evaluation.
        """
        if self.predictions_file is None:
            raise JetloomError(f"{self.training['run']}: no predictions, the training has no evaluation")
        if kind not in self._readers:
            self._readers[kind] = kind(self.predictions_file)
        reader: P = self._readers[kind]
        return reader

    @cached_property
    def _readers(self) -> dict[type, Any]:
        return {}

    @property
    def commit(self) -> str:
        """Nine digits of the commit that trained it, or ``none``."""
        return ((self.training.get("git") or {}).get("commit") or "none")[:9]


@dataclass(frozen=True)
class Entry:
    """A model on a data set: one row of the tables."""

    dataset: str
    model: str
    title: str
    results: list[Result]
    cost: dict[str, Any] | None

    @property
    def costs(self) -> dict[str, Any]:
        """``cost``, where it was measured.

        Raises:
            JetloomError: it was not.
        """
        if self.cost is None:
            raise JetloomError(f"{self.title} on {self.dataset}: the cost was not measured")
        return self.cost

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        parameters: int = (self.cost or self.results[0].training)["parameters"]
        return parameters

    @property
    def labels(self) -> int | None:
        """Labelled jets that it was trained on; None: all."""
        given = self.results[0].training["training"].get("labelled_jets", "all")
        return None if given == "all" else given

    @property
    def arm(self) -> tuple[str, str]:
        """Name and title of the model that it is with some number of labelled jets, or itself."""
        return arm_of(self.model, self.title, self.labels or "all")

    @property
    def training_seconds(self) -> float:
        """Wall time of a training, mean over seeds."""
        seconds: list[float] = [result.training["seconds"] for result in self.results]
        return sum(seconds) / len(seconds)

    @property
    def commits(self) -> list[str]:
        """The different commits of its trainings, nine digits each."""
        return sorted({result.commit for result in self.results})


class Words(NamedTuple):
    """What the objects of a data set and their parts are called."""

    thing: str
    things: str
    particle: str
    particles: str


def words(manifest: Mapping[str, Any]) -> Words:
    """Those of the data that a manifest describes."""
    if manifest["kind"] == "points":
        return Words("shape", "shapes", "point", "points")
    # What a training has made is never called a jet alone.
    how = {"compared": "made-up"}.get(manifest.get("derived") or "", manifest.get("derived"))
    jet = f"{how} jet" if how else "jet"
    particle = "token" if manifest["kind"] == "tokens" else "particle"
    return Words(jet, f"{jet}s", particle, f"{particle}s")


@dataclass(frozen=True)
class DataSet:
    """A section of the report: a data set, a task, and the models that were trained for it."""

    name: str
    """Of the section: that of the data set, with what tells several tasks on it apart."""
    title: str
    manifest: dict[str, Any]
    task: Task
    entries: list[Entry] = field(default_factory=list)

    @property
    def first(self) -> dict[str, Any]:
        """Metrics of some training: what is the same for all."""
        return self.entries[0].results[0].metrics

    @property
    def evaluated(self) -> bool:
        """Whether there are evaluations of the trainings."""
        return bool(self.first)

    @property
    def classes(self) -> list[str]:
        """Class names; the position is the label."""
        names: list[str] = self.manifest["classes"]
        return names

    @property
    def jets(self) -> int:
        """Test jets (or meshes)."""
        jets: int = self.first["jets"] if self.evaluated else self.manifest["splits"]["test"]["jets"]
        return jets

    @property
    def words(self) -> Words:
        """What its objects and their parts are called."""
        return words(self.manifest)

    @cached_property
    def with_most_labels(self) -> "DataSet":
        """The section without models that are there with more labelled jets too; itself, if there are none."""
        most: dict[str, Entry] = {}
        for entry in sorted(self.entries, key=lambda entry: entry.labels or math.inf):
            most[entry.arm[0]] = entry
        kept = {entry.model for entry in most.values()}
        if len(kept) == len(self.entries):
            return self
        return replace(self, entries=[entry for entry in self.entries if entry.model in kept])


@dataclass(frozen=True)
class Collection:
    """Everything that a report shows."""

    datasets: list[DataSet]

    @property
    def models(self) -> list[str]:
        """Names of all models, in order of appearance."""
        return list(dict.fromkeys(entry.model for dataset in self.datasets for entry in dataset.entries))

    @property
    def results(self) -> list[tuple[Entry, Result]]:
        """Every training, once for each task that it was evaluated on."""
        return [(entry, result) for dataset in self.datasets for entry in dataset.entries for result in entry.results]

    @property
    def trainings(self) -> list[tuple[Entry, Result]]:
        """Every training, with its main task."""
        return [(entry, result) for entry, result in self.results if not result.auxiliary]
