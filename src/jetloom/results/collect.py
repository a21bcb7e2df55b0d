"""Read the files of finished trainings into what tables and figures are made of."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.catalogue import cards
from jetloom.catalogue.cards import model_card
from jetloom.config import arm_of
from jetloom.errors import JetloomError
from jetloom.results.inputs import Inputs
from jetloom.results.predictions import Predictions
from jetloom.system.files import read_json

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
    if manifest["kind"] == "jets":
        return Words("jet", "jets", "particle", "particles")
    return Words("shape", "shapes", "point", "points")


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


class _Found(NamedTuple):
    """A result and where it belongs."""

    where: str
    task: Task
    result: Result


def collect(given: Inputs, subject: Callable[[Task], str] = lambda task: "") -> Collection:
    """Read and match result files.

    Args:
        given: the files.
        subject: what is added to the name of a data set for a task; results of one name are compared.

    Raises:
        JetloomError: a file is missing, damaged, or belongs to other data than its partner.
    """
    measured = {_key(content, seed=False): content for _, content in _read_all(given.costs)}
    described = {content["digest"]: content for _, content in _read_all(given.manifests)}
    datasets: dict[str, DataSet] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for where, task, result in _found(given):
        run, digest = result.training["run"], (result.metrics or result.training)["data_digest"]
        if digest not in described:
            raise JetloomError(f"{where}: evaluated on data {digest[:12]}, of which no manifest is given; run it again")
        manifest = described[digest]
        more = subject(task) if result.metrics else f"{task.name}-unevaluated"
        name = f"{run['dataset']}-{more}" if more else run["dataset"]
        dataset = datasets.setdefault(name, DataSet(name, _title_of_preset(manifest["dataset"]), manifest, task))
        if dataset.manifest["digest"] != digest:
            raise JetloomError(f"{where}: evaluated on other data than the rest of {name}; run it again")
        if (name, run["model"]) not in entries:
            cost = measured.get((run["dataset"], run["model"]))
            entry = Entry(run["dataset"], run["model"], run.get("title") or run["model"], [], cost)
            entries[name, run["model"]] = entry
            dataset.entries.append(entry)
        entries[name, run["model"]].results.append(result)
    for entry in entries.values():
        entry.results.sort(key=lambda result: result.seed)
    return Collection(list(datasets.values()))


def _found(given: Inputs) -> Iterator[_Found]:
    """The evaluations in the order of the report, each with its auxiliary tasks; then trainings that have none."""
    if not given.metrics and not given.training:
        raise JetloomError("report: neither metrics.json nor training.json given, there is nothing to show")
    trained = {_key(content): (path, content) for path, content in _read_all(given.training)}
    evaluated = [(path, content) for path, content in _read_all(given.metrics)]
    predicted = {_key(_predictions_facts(path)): path for path in given.predictions}
    exemplified = {_key(content): content for _, content in _read_all(given.examples)}
    beside = {path.parent: path for path in given.histories}

    def history(path: Path, where: str) -> dict[str, NDArray[np.float64]]:
        if path.parent not in beside:
            raise JetloomError(f"{where}: no history.csv beside {path}")
        return read_history(beside[path.parent])

    for path, content in evaluated:
        key, where = _key(content), _where(path, content)
        if key not in trained:
            raise JetloomError(f"{where}: no training.json of this run among {len(given.training)} given")
        if key not in predicted:
            raise JetloomError(f"{where}: no predictions.parquet of this run among {len(given.predictions)} given")
        training, facts = trained[key]
        seed, curves, examples = content["run"]["seed"], history(training, where), exemplified.get(key)
        yield _Found(where, task_of(content), Result(seed, content, facts, curves, predicted[key], examples))
        for part in content.get("also", ()):
            own = {name: value for name, value in content.items() if name not in ("also", "values", "bins")} | part
            result = Result(seed, own, facts, curves, predicted[key], auxiliary=True)
            yield _Found(where, task_of(part), result)
    known = {_key(content) for _, content in evaluated}
    for key, (path, facts) in trained.items():
        if key not in known:
            where = _where(path, facts)
            yield _Found(where, task_of(facts), Result(facts["run"]["seed"], {}, facts, history(path, where), None))


def _where(path: Path, content: dict[str, Any]) -> str:
    run = content["run"]
    return f"{path}: {run['model']} on {run['dataset']}, seed {run['seed']}"


def titled(collection: Collection, config: Mapping[str, Any]) -> Collection:
    """Results under the titles that a configuration gives their models and data sets now.

    Args:
        collection: results, under the titles that models had when they were trained, and presets of data sets have.
        config: content of ``config.yaml``; what it does not name keeps its title.
    """
    changes, of_datasets = config.get("per_model") or {}, config.get("per_dataset") or {}
    lists = [config, *(section or {} for section in of_datasets.values())]
    listed = {*changes, *(name for section in lists for name in section.get("models") or [])}

    def title(entry: Entry) -> str:
        if entry.model not in listed:
            return entry.title
        change = changes.get(entry.model) or {}
        return change.get("title") or model_card(change.get("based_on") or entry.model).title

    return Collection(
        [
            replace(
                dataset,
                title=(of_datasets.get(dataset.entries[0].dataset) or {}).get("title") or dataset.title,
                entries=[replace(entry, title=title(entry)) for entry in dataset.entries],
            )
            for dataset in collection.datasets
        ]
    )


def _title_of_preset(name: str) -> str:
    """Title of a data set; its name, if it was made from a preset that is no longer there."""
    return cards.read("datasets", name)["title"] if name in cards.names("datasets") else name


def read_history(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a ``history.csv``; an empty cell is NaN."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = reader.fieldnames or []
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (ValueError, TypeError) as error:
        raise JetloomError(f"{path}: not a training history ({error})") from None


def _read_all(paths: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    again = "make it again"
    return [(path, read_json(path, missing=again, damaged=again)) for path in paths]


def _predictions_facts(path: Path) -> dict[str, Any]:
    metadata = pq.read_schema(path).metadata or {}
    if b"jetloom" not in metadata:
        raise JetloomError(f"{path}: not written by `jetloom evaluate` (no run in its metadata)")
    facts: dict[str, Any] = json.loads(metadata[b"jetloom"])
    return facts


def _key(content: dict[str, Any], seed: bool = True) -> tuple[Any, ...]:
    run = content["run"]
    return (run["dataset"], run["model"], run["seed"]) if seed else (run["dataset"], run["model"])
