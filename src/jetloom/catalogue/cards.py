"""The facts that ship with jetloom: one YAML file per data set, model and table of published numbers.

Reading them imports no torch, so the workflow can plan and the command line can list in a fraction of a second.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from jetloom.errors import JetloomError

DIRECTORY = Path(__file__).parent
# The safe one of libyaml, where PyYAML was built with it: a fraction of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Kind = Literal["datasets", "models", "published", "tasks"]


class ModelPreset(BaseModel):
    """One named size and recipe of an architecture."""

    model_config = ConfigDict(extra="forbid")

    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")
    max_particles: int | None = Field(None, ge=1, description="published length, where none is asked for")
    training: dict[str, Any] = Field(default_factory=dict, description="the recipe, keys of `training:`")
    source: str = Field("", description="where size and recipe were published")


class ModelCard(BaseModel):
    """``catalogue/models/<name>.yaml``: which class an architecture is, its paper, its published sizes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    class_path: str = Field(alias="class", description="dotted path of the class")
    title: str = Field(description="name in tables and figures")
    paper: str = Field(description="reference, arXiv number where there is one")
    inputs: list[Literal["jets", "points", "tokens"]] = ["jets"]
    task: str | None = Field(None, description="what it is trained to do where nothing is said; none: classification")
    particles: bool = Field(True, description="whether the encoder says something of each particle")
    fixed: dict[str, Any] = Field(default_factory=dict, description="options that make the class this row")
    choices: dict[str, list[Any]] = Field(default_factory=dict, description="values allowed; the first: default")
    defaults: dict[str, Any] = Field(default_factory=dict, description="where they are not those of the class")
    presets: dict[str, ModelPreset]


class TaskCard(BaseModel):
    """``catalogue/tasks/<name>.yaml``: which class a task is, and where its figures of merit and its words are."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    class_path: str = Field(alias="class", description="dotted path of the class")
    title: str = Field(description="name in tables and figures")
    monitors: dict[str, Literal["higher", "lower"]] = Field(
        min_length=1, description="validation figures that can choose the best epoch, and which way is better"
    )
    inputs: list[Literal["jets", "points", "tokens"]] = Field(
        ["jets", "points", "tokens"], description="what it is defined on"
    )
    refuses: list[Literal["16", "bf16"]] = Field([], description="precisions that spoil it")
    makes: Literal["codes", "jets"] | None = Field(None, description="what a training makes, for derived data sets")
    particles: bool = Field(False, description="whether it reads what an encoder says of each particle")
    pretrains: bool = Field(
        False, description="an encoder is what it is for: it trains alone, and is not exported or registered"
    )
    measures: str | None = Field(None, description="module of the figures of merit; none: nothing is evaluated")
    tracked: dict[str, str] = Field(
        default_factory=dict, description="figures of merit that MLflow has under a name of their own too, and the name"
    )
    shows: str | None = Field(None, description="module of its tables, pictures and words on the page")


def names(kind: Kind) -> list[str]:
    """Names of all presets of one kind, sorted."""
    return sorted(path.stem for path in (DIRECTORY / kind).glob("*.yaml"))


@cache
def read(kind: Kind, name: str) -> dict[str, Any]:
    """Content of one preset file; one that says ``based_on`` changes some keys of another.

    Raises:
        JetloomError: there is no such preset.
    """
    path = DIRECTORY / kind / f"{name}.yaml"
    if not path.is_file():
        raise JetloomError(f"unknown {kind.removesuffix('s')} {name!r}; known: {', '.join(names(kind))}")
    values = _content(path)
    base = values.pop("based_on", None)
    return values if base is None else read(kind, base) | values


def _content(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.load(path.read_text(), _LOADER)
    return values


@cache
def family(dataset: str) -> str:
    """The data set that a preset takes its files from: the last one that ``based_on`` leads to."""
    base = _content(DIRECTORY / "datasets" / f"{dataset}.yaml").get("based_on")
    return dataset if base is None else family(base)


@cache
def model_card(name: str) -> ModelCard:
    """The card of one architecture.

    Raises:
        JetloomError: there is no such model.
    """
    return ModelCard.model_validate(read("models", name))


@cache
def task_card(name: str) -> TaskCard:
    """The card of one task.

    Raises:
        JetloomError: there is no such task.
    """
    return TaskCard.model_validate(read("tasks", name))


def load_class(class_path: str) -> Any:
    """The class that a card names."""
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)
