"""What a run says of itself: names, parameters, tags, data, texts."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from typing import Any, NamedTuple

import yaml

from jetloom.config import Training, as_given, read_by
from jetloom.system.environment import git, hardware
from jetloom.tracking.start import Start

DIGEST_LENGTH = 36
"""Longest digest that MLflow takes."""
VALUE_LENGTH = 250
"""Characters of a parameter; the whole value is in config.yaml."""


class DataInput(NamedTuple):
    """A split of the data set, as MLflow is told of it."""

    name: str
    digest: str
    source: str
    jets: int
    context: str


@dataclass(frozen=True)
class Description:
    """A run, its parent, and what both say.

    Args:
        experiment: name of the MLflow experiment, ``<experiment>/<data set>``.
        name: of the run, ``salt-full-s1``.
        parent: name of the run of all seeds of this model and configuration, ``salt-full``.
        config: hash of model, recipe and data; the parent is found by it.
        parameters: flat and short; ``seed`` is the run's own, the others also the parent's.
        tags: searchable facts, ``seed`` and the like the run's own.
        inputs: splits of the data set.
        texts: artifacts that are known at the start, by name.
        start: the training whose weights it starts from.
    """

    experiment: str
    name: str
    parent: str
    config: str
    parameters: dict[str, str]
    tags: dict[str, str]
    inputs: list[DataInput] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    start: Start | None = None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Description":
        """From what ``dataclasses.asdict`` and JSON made of one."""
        start = content.get("start")
        inputs = [DataInput(*item) for item in content["inputs"]]
        return cls(**{**content, "inputs": inputs, "start": Start(*start) if start else None})


def describe(
    run: Mapping[str, Any],
    *,
    architecture: str,
    preset: str | None,
    options: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    data: Mapping[str, Any],
    jets: Mapping[str, int],
    manifest: str,
    threads: int | None = None,
    start: Start | None = None,
) -> Description:
    """Describe a training.

    Args:
        run: ``experiment``, ``dataset``, ``model``, ``seed``, ``title``.
        architecture: row of the registry.
        preset: named size.
        options: all options of the architecture.
        tasks: name, settings and weight of each, the main one first.
        training: the whole recipe.
        data: ``digest`` and ``feature_set`` of the manifest.
        jets: in each split.
        manifest: where the tensors are.
        threads: CPU threads.
        start: the training whose weights it starts from.
    """
    what = {
        "architecture": architecture,
        "preset": preset,
        "model": options,
        "task": tasks,
        "training": training,
        "data": data,
    }
    handling = read_by(Training, "nothing")
    learning = as_given({key: value for key, value in training.items() if key not in handling})
    # Not the file: each seed may start from another one.
    learning |= {"initial_weights": start.model} if start else {}
    hashed = json.dumps([run["dataset"], run["model"], architecture, options, tasks, learning, data], sort_keys=True)
    config = hashlib.sha256(hashed.encode()).hexdigest()[:12]
    parent = f"{run['model']}-{data['feature_set']}"
    return Description(
        experiment=f"{run['experiment']}/{run['dataset']}",
        name=f"{parent}-s{run['seed']}",
        parent=parent,
        config=config,
        parameters=_parameters(run, architecture, preset, options, tasks, training, data)
        | ({"starts_from": start.model} if start else {}),
        tags=_tags(run, data["digest"]),
        inputs=[
            DataInput(f"{run['dataset']}/{split}", data["digest"], manifest, jets[split], context)
            for split, context in (("train", "training"), ("val", "validation"), ("test", "testing"))
            if split in jets
        ],
        texts={
            "config.yaml": yaml.safe_dump({"run": dict(run), **what}, sort_keys=False, allow_unicode=True),
            "environment.txt": _environment(threads),
        },
        start=start,
    )


def _parameters(
    run: Mapping[str, Any],
    architecture: str,
    preset: str | None,
    options: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, str]:
    """The recipe by its own names, the architecture's options as ``model.<option>``; what is not set is left out."""
    given = {"model": run["model"], "architecture": architecture, "preset": preset, "seed": run["seed"]}
    given |= {"features": data["feature_set"], "data": data["digest"][:12]}
    given |= {"task": "+".join(item["name"] for item in tasks)}
    for item in tasks:
        given |= flatten(item["settings"], f"{item['name']}.")
    given |= flatten(training) | flatten(options, "model.")
    return {key: _short(value) for key, value in given.items() if value is not None}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _tags(run: Mapping[str, Any], data_digest: str) -> dict[str, str]:
    """What is trained, from which commit and data, in which job."""
    state = git()
    tags = {
        "experiment": run["experiment"],
        "dataset": run["dataset"],
        "model": run["model"],
        "title": run["title"],
        "seed": str(run["seed"]),
        "stage": "training",
        "data.manifest_sha": data_digest,
        "snakemake.rule": "train_model",
        "snakemake.wildcards": f"dataset={run['dataset']},model={run['model']},seed={run['seed']}",
        "git.commit": state["commit"] or "unknown",
        "git.dirty": "unknown" if state["dirty"] is None else str(state["dirty"]).lower(),
    }
    image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    job = os.environ.get("SLURM_JOB_ID")
    tags |= ({"container": image} if image else {}) | ({"slurm.job_id": job} if job else {})
    # MLflow's own name, which its UI shows in a column.
    return tags | ({"mlflow.source.git.commit": state["commit"]} if state["commit"] else {})


def _environment(threads: int | None) -> str:
    """The machine as comments, then every installed package as pip would pin it."""
    machine = [f"# {name}: {value}" for name, value in hardware(threads).items() if value is not None]
    pins = {f"{item.name}=={item.version}" for item in distributions() if item.name}
    return "\n".join([*machine, *sorted(pins, key=str.lower)]) + "\n"
