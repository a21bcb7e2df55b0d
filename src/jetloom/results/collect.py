"""Read the files of finished trainings into what tables and figures are made of."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.errors import JetloomError
from jetloom.results.collection import Collection, DataSet, Entry, Made, Result, Task, task_of
from jetloom.results.inputs import Inputs
from jetloom.results.titles import title_of_preset
from jetloom.system.files import read_json


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
        title = title_of_preset(manifest["dataset"])
        dataset = datasets.setdefault(name, DataSet(name, title, manifest, task))
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
    made = _made(given)

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
        result = Result(seed, content, facts, curves, predicted[key], examples, made.get(key, ()))
        yield _Found(where, task_of(content), result)
        for part in content.get("also", ()):
            own = {name: value for name, value in content.items() if name not in ("also", "values", "bins")} | part
            result = Result(seed, own, facts, curves, predicted[key], auxiliary=True)
            yield _Found(where, task_of(part), result)
    known = {_key(content) for _, content in evaluated}
    for key, (path, facts) in trained.items():
        if key not in known:
            where = _where(path, facts)
            yield _Found(where, task_of(facts), Result(facts["run"]["seed"], {}, facts, history(path, where), None))


def _made(given: Inputs) -> dict[tuple[Any, ...], tuple[Made, ...]]:
    """What trainings made, by the key of the training."""
    beside = {path.parent: path for path in given.observables}
    found: dict[tuple[Any, ...], tuple[Made, ...]] = {}
    for path, content in _read_all(given.closeness):
        if path.parent not in beside:
            raise JetloomError(f"{path}: no observables.parquet beside it")
        found[_key(content)] = (*found.get(_key(content), ()), Made(content, beside[path.parent]))
    return found


def _where(path: Path, content: dict[str, Any]) -> str:
    run = content["run"]
    return f"{path}: {run['model']} on {run['dataset']}, seed {run['seed']}"


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
