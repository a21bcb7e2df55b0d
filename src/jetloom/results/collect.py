"""Read the files of finished trainings into what tables and figures are made of."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom import presets
from jetloom.errors import JetloomError
from jetloom.presets import model_card
from jetloom.results.inputs import Inputs
from jetloom.results.predictions import Predictions


@dataclass(frozen=True)
class Result:
    """One training and its evaluation."""

    seed: int
    metrics: dict[str, Any]
    training: dict[str, Any]
    history: dict[str, NDArray[np.float64]]
    predictions_file: Path
    examples: dict[str, Any] | None = None
    """A few jets and what the model looks at in them; None: not stored."""

    @cached_property
    def predictions(self) -> Predictions:
        """Scores of the test split."""
        return Predictions(self.predictions_file, self.metrics["classes"])


@dataclass(frozen=True)
class Entry:
    """A model on a data set: one row of the tables."""

    dataset: str
    model: str
    title: str
    results: list[Result]
    cost: dict[str, Any] | None

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return self.cost["parameters"] if self.cost else self.results[0].training["parameters"]


@dataclass(frozen=True)
class DataSet:
    """A data set and the models that were trained on it."""

    name: str
    title: str
    manifest: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)

    @property
    def first(self) -> dict[str, Any]:
        """Metrics of some training: what is the same for all."""
        return self.entries[0].results[0].metrics

    @property
    def classes(self) -> list[str]:
        """Class names; the position is the label."""
        return self.first["classes"]

    @property
    def background(self) -> str | None:
        """Class against which rejections are quoted."""
        return self.first["background"]

    @property
    def jets(self) -> int:
        """Test jets (or meshes)."""
        return self.first["jets"]

    @property
    def thing(self) -> str:
        """What is classified, in the plural."""
        return "jets" if self.manifest["kind"] == "jets" else "shapes"

    @property
    def particle(self) -> str:
        """What it is made of, in the plural."""
        return "particles" if self.manifest["kind"] == "jets" else "points"


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
        """Every training."""
        return [(entry, result) for dataset in self.datasets for entry in dataset.entries for result in entry.results]


def collect(given: Inputs) -> Collection:
    """Read and match result files.

    Raises:
        JetloomError: a file is missing, damaged, or belongs to other data than its partner.
    """
    if not given.metrics:
        raise JetloomError("report: no metrics.json given, there is nothing to show")
    trained = {_key(content): (path, content) for path, content in _read_all(given.training)}
    beside = {path.parent: path for path in given.histories}
    predicted = {_key(_predictions_facts(path)): path for path in given.predictions}
    measured = {_key(content, seed=False): content for _, content in _read_all(given.costs)}
    exemplified = {_key(content): content for _, content in _read_all(given.examples)}
    described = {content["digest"]: content for _, content in _read_all(given.manifests)}

    datasets: dict[str, DataSet] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for path, content in _read_all(given.metrics):
        run, key = content["run"], _key(content)
        where = f"{path}: {run['model']} on {run['dataset']}, seed {run['seed']}"
        if key not in trained:
            raise JetloomError(f"{where}: no training.json of this run among {len(given.training)} given")
        if key not in predicted:
            raise JetloomError(f"{where}: no predictions.parquet of this run among {len(given.predictions)} given")
        if content["data_digest"] not in described:
            raise JetloomError(
                f"{where}: evaluated on data {content['data_digest'][:12]}, of which no manifest is given; run it again"
            )
        training_path, facts = trained[key]
        if training_path.parent not in beside:
            raise JetloomError(f"{where}: no history.csv beside {training_path}")
        history = read_history(beside[training_path.parent])
        manifest = described[content["data_digest"]]
        dataset = datasets.setdefault(
            run["dataset"], DataSet(run["dataset"], _title_of_preset(manifest["dataset"]), manifest)
        )
        if dataset.manifest["digest"] != content["data_digest"]:
            raise JetloomError(f"{where}: evaluated on other data than the rest of {run['dataset']}; run it again")
        pair = (run["dataset"], run["model"])
        if pair not in entries:
            entries[pair] = Entry(*pair, run.get("title") or run["model"], [], measured.get(pair))
            dataset.entries.append(entries[pair])
        entries[pair].results.append(Result(run["seed"], content, facts, history, predicted[key], exemplified.get(key)))
    for entry in entries.values():
        entry.results.sort(key=lambda result: result.seed)
    return Collection(list(datasets.values()))


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
                title=(of_datasets.get(dataset.name) or {}).get("title") or dataset.title,
                entries=[replace(entry, title=title(entry)) for entry in dataset.entries],
            )
            for dataset in collection.datasets
        ]
    )


def _title_of_preset(name: str) -> str:
    """Title of a data set; its name, if it was made from a preset that is no longer there."""
    return presets.read("datasets", name)["title"] if name in presets.names("datasets") else name


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
    contents = []
    for path in paths:
        try:
            contents.append((path, json.loads(path.read_text())))
        except ValueError as error:
            raise JetloomError(f"{path}: not JSON ({error}); make it again") from None
    return contents


def _predictions_facts(path: Path) -> dict[str, Any]:
    metadata = pq.read_schema(path).metadata or {}
    if b"jetloom" not in metadata:
        raise JetloomError(f"{path}: not written by `jetloom evaluate` (no run in its metadata)")
    return json.loads(metadata[b"jetloom"])


def _key(content: dict[str, Any], seed: bool = True) -> tuple[Any, ...]:
    run = content["run"]
    return (run["dataset"], run["model"], run["seed"]) if seed else (run["dataset"], run["model"])
