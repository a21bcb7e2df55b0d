"""Whether results belong together and to a configuration: each file says what it was made from."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq

from jetloom.config import Experiment, Run
from jetloom.errors import JetloomError
from jetloom.evaluation.made_from import setting_part
from jetloom.results.collection import Collection, Entry, Result
from jetloom.training.made_from import all_options, chosen_options, setting_parts


def check(collection: Collection, experiment: Experiment | None = None) -> None:
    """Follow the chain training -> evaluation -> predictions and examples of each result.

    Args:
        collection: results.
        experiment: configuration that they are shown under; trainings that it does not name are not compared with it.

    Raises:
        JetloomError: the first result that is of something else than what stands beside it.
    """
    runs = set(experiment.runs) if experiment else set()
    for entry, result in collection.results:
        run = Run(entry.dataset, entry.model, result.seed)
        for broken in _broken_links(result):
            raise JetloomError(f"{_name(run)}: {broken}; run the workflow again")
        if experiment and run in runs:
            for other in _other_settings(experiment, run, entry, result):
                raise JetloomError(f"{_name(run)}: made with another {other} than the configuration says; run it again")


def _broken_links(result: Result) -> Iterator[str]:
    training, metrics = _record(result.training), _record(result.metrics)
    if training and not result.metrics:
        return
    if not training or not metrics:
        yield "does not say what it was made from (results of an earlier version)"
        return
    if metrics["made_from"].get("training") != training["digest"]:
        yield "metrics.json is the evaluation of another training than training.json describes"
    if metrics["made_from"].get("data") != result.metrics["data_digest"]:
        yield "metrics.json names two digests of its data"
    assert result.predictions_file is not None
    described = json.loads((pq.read_schema(result.predictions_file).metadata or {})[b"jetloom"])
    for name, content in (("predictions.parquet", described), ("examples.json", result.examples)):
        if content is not None and (_record(content) or {}).get("digest") != metrics["digest"]:
            yield f"{name} is of another evaluation than metrics.json"


def _other_settings(experiment: Experiment, run: Run, entry: Entry, result: Result) -> Iterator[str]:
    choice = experiment.model(run.dataset, run.model)
    options = all_options(choice.architecture, chosen_options(*choice[:3]))
    recipe, tasks = experiment.training_of(run.dataset, run.model), experiment.tasks_of(run.model)
    parts = setting_parts(choice.architecture, options, tasks, recipe, run.seed)
    made_from = result.training["identity"]["made_from"]
    yield from (name for name, value in parts.items() if made_from.get(name) != value)
    if not result.metrics:
        return
    described = experiment.dataset(run.dataset)
    settings = setting_part(experiment.evaluation, described.background, described.working_points)
    if result.metrics["identity"]["made_from"].get("settings") != settings:
        yield "setting of the evaluation"


def _record(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    record = content.get("identity")
    return record if isinstance(record, Mapping) and {"digest", "made_from"} <= record.keys() else None


def _name(run: Run) -> str:
    return f"{run.dataset}/{run.model}/seed{run.seed}"
