"""``config.yaml``: what is trained on what, with which changes, and where it goes."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from jetloom.catalogue import cards
from jetloom.catalogue.options import check_options
from jetloom.config.dataset import Dataset
from jetloom.config.derived import MadeBy
from jetloom.config.evaluation import Cost, Evaluation
from jetloom.config.makers import check_maker, in_order, resolve_made
from jetloom.config.mistakes import known, section, validate
from jetloom.config.resolve import resolve_dataset, resolve_recipe
from jetloom.config.run import Run
from jetloom.config.scan import expanded
from jetloom.config.section import Different, Directory, Labels, Name, SeedOrSame, Seeds, Strict
from jetloom.config.task import DEFAULT, TaskChoice, monitor_of, resolve_tasks
from jetloom.config.training import Training
from jetloom.config.values import merge
from jetloom.errors import JetloomError
from jetloom.system.masking import without_password


class DatasetChanges(BaseModel):
    """``per_dataset.<name>``: any key of the data-set preset, and what this experiment trains on it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    based_on: str | None = Field(None, description="preset, if this name is not one itself")
    made_by: MadeBy | None = Field(None, description="trainings of this experiment that make it; instead of a preset")
    raw: Directory | None = Field(
        None, description="directory that holds the raw files already; default: in data_directory"
    )
    models: Different[Name] | None = Field(None, description="default: the models of the top level")
    seeds: Seeds | None = Field(None, description="default: the seeds of the top level")
    training: dict[str, Any] = Field(default_factory=dict, description="recipe, over that of the top level")


class Start(Strict):
    """A training of the same experiment from whose weights another one starts."""

    dataset: str = Field(description="one of `datasets`")
    model: str = Field(description="one of its models, of the same architecture and options")
    seed: SeedOrSame = Field(description="one of its seeds, or `same`: each seed from its own")

    def run(self, seed: int) -> "Run":
        """The training from which another one with this seed starts."""
        return Run(self.dataset, self.model, seed if self.seed == "same" else self.seed)


class ModelChanges(Strict):
    """``per_model.<name>``: preset, options and recipe of one architecture, or of a variant of one."""

    based_on: str | None = Field(None, description="architecture, if this name is a variant")
    preset: str | None = Field(None, description="default: the preset of the top level")
    options: dict[str, Any] = Field(default_factory=dict, description="of the architecture: `jetloom models NAME`")
    training: dict[str, Any] = Field(default_factory=dict, description="recipe, over that of the data set")
    labelled_jets: Annotated[Different[Labels], Field(min_length=1)] | None = Field(
        None,
        description="one training for each number of labelled jets, named `<name>-n<number>`; `all` keeps the name",
    )
    task: Any = Field(None, description="default: that of the top level")
    seeds: Seeds | None = Field(None, description="default: those of the data set")
    starts_from: Start | None = Field(
        None,
        description="training of this experiment to start from (fine-tuning): `dataset`, `model`, and `seed` or `same`",
    )
    title: str | None = Field(None, description="name in tables and figures")


class Report(Strict):
    """What the page shows."""

    title: str = Field("Jet taggers compared", description="headline")


class Tracking(Strict):
    """Where MLflow runs go."""

    uri: Annotated[str, AfterValidator(without_password)] | None = Field(
        None, description="default: MLFLOW_TRACKING_URI, else SQLite in the results directory"
    )
    offline: bool = Field(False, description="trainings ask no server; the last rule or `jetloom mlflow sync` sends")
    live_after: float = Field(
        60.0, ge=0, description="seconds until a training is seen in MLflow; what ends before is sent by the last rule"
    )
    onnx: bool = Field(True, description="register the best models as ONNX, seconds for each; else as checkpoints")


class ModelChoice(NamedTuple):
    """An architecture with its preset and the options that differ from it."""

    architecture: str
    preset: str
    options: dict[str, Any]
    title: str


class Experiment(Strict):
    """``config.yaml``."""

    experiment: Name = Field(description="names the directory of the results and the MLflow experiments")
    datasets: Different[Name] = Field(min_length=1, description="`jetloom datasets`")
    models: Different[Name] = Field(description="`jetloom models`; those of each data set that names none itself")
    seeds: Seeds = Field(description="one training for each")
    preset: str | None = Field(None, description="model preset; default: the one named by the data set")
    training: dict[str, Any] = Field(default_factory=dict, description="recipe, over the model preset's own")
    task: Any = Field(
        None,
        description="what is learnt: a name, `{name: options}` or a list, the main one first (`jetloom tasks`); "
        "default: that of the model (of a tokenizer: tokenisation), else classification",
    )
    evaluation: Evaluation = Field(Evaluation(), description="what is computed on the test split")
    cost: Cost = Field(Cost(), description="what is measured on this machine")
    report: Report = Field(Report(), description="what the page shows")
    tracking: Tracking = Field(Tracking(), description="where MLflow runs go")
    per_dataset: dict[str, DatasetChanges] = Field(default_factory=dict, description="changes of single data sets")
    per_model: dict[str, ModelChanges] = Field(default_factory=dict, description="changes of single models")
    paper: bool = Field(
        False, description="for publication: refuses to start from a working tree with uncommitted changes"
    )
    scale: str | None = Field(None, description="one of `scales`: run the experiment with these changes")
    scales: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="named changes of the whole file, for example a tiny form of the experiment"
    )
    data_directory: Directory = Field("data", description="raw files, skims and tensors, shared by experiments")
    results_directory: Directory = Field("results", description="one directory per experiment, and the MLflow store")
    scratch_directory: Directory = Field("scratch", description="checkpoints of running trainings")

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        """The experiment at its scale, with a model for each number of labelled jets."""
        return expanded(cls._scaled(values)) if isinstance(values, dict) else values

    @staticmethod
    def _scaled(values: dict[str, Any]) -> dict[str, Any]:
        """The experiment at its scale; results go to a directory of their own."""
        if values.get("scale") is None:
            return values
        # Snakemake reads a name of digits as a number.
        scale, scales = str(values["scale"]), {str(key): value for key, value in section(values, "scales").items()}
        known("scale", scale, scales)
        changes = section(scales, scale, "scales.")
        scaled = merge({key: value for key, value in values.items() if key not in ("scale", "scales")}, changes)
        scaled["experiment"] = f"{values.get('experiment')}-{scale}"
        # A trial is not what is published.
        scaled["paper"] = changes.get("paper", False)
        # What a smaller form leaves out is no mistake there.
        datasets, models = section(scaled, "per_dataset"), section(scaled, "per_model")
        datasets = {
            key: section(datasets, key, "per_dataset.") for key in datasets if key in scaled.get("datasets", [])
        }
        listed = set(scaled.get("models", [])).union(*(changes.get("models") or [] for changes in datasets.values()))
        models = {key: changes for key, changes in models.items() if key in listed}
        return scaled | {"per_dataset": datasets, "per_model": models}

    def dataset(self, name: str) -> Dataset:
        """The data set with this experiment's changes."""
        return self.datasets_by_name[name]

    @cached_property
    def datasets_by_name(self) -> dict[str, Dataset]:
        """All data sets with this experiment's changes."""
        found: dict[str, Dataset] = {}
        # What is derived comes after its sources.
        for name in in_order(self):
            found[name] = self._resolve_dataset(name, found)
        return {name: found[name] for name in self.datasets}

    def _resolve_dataset(self, name: str, known_ones: Mapping[str, Dataset]) -> Dataset:
        changes = self.per_dataset.get(name, DatasetChanges())
        if changes.made_by:
            return resolve_made(self, name, known_ones)
        based_on = changes.based_on or name
        where = f"per_dataset.{name}.based_on" if changes.based_on else "datasets"
        known(where, based_on, cards.names("datasets"))
        return resolve_dataset(based_on, changes.model_extra or {}, f"per_dataset.{name}")

    def models_of(self, dataset: str) -> list[str]:
        """Models trained on a data set, in the order of the configuration."""
        changes = self.per_dataset.get(dataset)
        return changes.models if changes and changes.models is not None else self.models

    def model(self, dataset: str, model: str) -> ModelChoice:
        """Which architecture a model name stands for on a data set, in which preset, with which options."""
        changes = self.per_model.get(model, ModelChanges())
        architecture = changes.based_on or model
        card = cards.model_card(architecture)
        preset = changes.preset or self.preset or self.dataset(dataset).preset or "tiny"
        return ModelChoice(architecture, preset, changes.options, changes.title or card.title)

    def training_of(self, dataset: str, model: str) -> Training:
        """The recipe: preset of the model, then ``training``, ``per_dataset``, ``per_model``, the last one wins."""
        choice = self.model(dataset, model)
        preset = cards.model_card(choice.architecture).presets[choice.preset]
        return resolve_recipe(
            {
                f"preset {choice.preset} of {choice.architecture}": preset.training,
                "training": self.training,
                f"per_dataset.{dataset}.training": self.per_dataset.get(dataset, DatasetChanges()).training,
                f"per_model.{model}.training": self.per_model.get(model, ModelChanges()).training,
            }
        )

    def tasks_of(self, model: str) -> list[TaskChoice]:
        """What a model is trained to do, the main task first."""
        changes = self.per_model.get(model, ModelChanges())
        if changes.task is not None:
            return resolve_tasks(changes.task, f"per_model.{model}.task")
        architecture = changes.based_on or model
        own = cards.model_card(architecture).task if architecture in cards.names("models") else None
        return resolve_tasks(own or self.task, "task")

    @cached_property
    def runs(self) -> list[Run]:
        """Every training of the experiment."""
        return [
            Run(dataset, model, seed)
            for dataset in self.datasets
            for model in self.models_of(dataset)
            for seed in self._seeds(dataset, model)
        ]

    def _seeds(self, dataset: str, model: str) -> list[int]:
        changes = self.per_model.get(model), self.per_dataset.get(dataset)
        return next((item.seeds for item in changes if item and item.seeds), self.seeds)

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        listed = set(self.models).union(*(self.models_of(name) for name in self.datasets))
        for kind, allowed in (("per_dataset", self.datasets), ("per_model", sorted(listed))):
            for name in getattr(self, kind):
                known(kind, name, allowed)
        for dataset in self.datasets:
            for model in self.models_of(dataset):
                self._check(dataset, model)
        if not self.runs:
            raise JetloomError("models: nothing to train; name at least one model, here or in per_dataset")
        for model in dict.fromkeys(run.model for run in self.runs):
            self._check_start(model)
        for name in self.datasets:
            check_maker(self, name)
        return self

    def _check(self, dataset: str, model: str) -> None:
        """Whether a model exists, reads what the data set holds, and has a recipe."""
        changes = self.per_model.get(model, ModelChanges())
        where = f"per_model.{model}.based_on" if changes.based_on else "models"
        known(where, changes.based_on or model, cards.names("models"))
        choice, kind = self.model(dataset, model), self.dataset(dataset).kind
        card = cards.model_card(choice.architecture)
        if kind not in card.inputs:
            raise JetloomError(
                f"models: {model} reads {' or '.join(card.inputs)}, {dataset} holds {kind}; "
                f"name the models of {dataset} in per_dataset.{dataset}.models"
            )
        known(f"preset of {model}", choice.preset, card.presets)
        check_options(choice.architecture, choice.options, f"per_model.{model}.options")
        recipe = self.training_of(dataset, model)
        monitor_of(recipe, self.tasks_of(model))
        starts = bool(changes.starts_from or recipe.initial_weights)
        recipe.check_start(starts, f"per_model.{model}.training")
        classes = self.dataset(dataset).classes
        if len(classes) < 2 and (some := [item.name for item in self.tasks_of(model) if item.name == DEFAULT]):
            raise JetloomError(
                f"task {some[0]} of {model}: {dataset} has one class, {classes[0]}; expected two or more"
            )
        if recipe.labelled is not None and recipe.labelled < len(classes):
            raise JetloomError(
                f"labelled_jets: {recipe.labelled} of {model} on {dataset} are less than one of each of "
                f"{len(classes)} classes"
            )
        for task in self.tasks_of(model):
            needs = cards.task_card(task.name)
            if kind not in needs.inputs:
                hint = "; make a token set first: made_by.tokenise" if needs.inputs == ["tokens"] else ""
                inputs = " or ".join(needs.inputs)
                raise JetloomError(f"task {task.name} of {model}: learns from {inputs}, {dataset} holds {kind}{hint}")
            if recipe.precision in needs.refuses:
                raise JetloomError(
                    f"per_model.{model}.training.precision: {recipe.precision} spoils task {task.name}; expected 32"
                )
            if needs.particles and not card.particles:
                raise JetloomError(
                    f"task {task.name} of {model}: {choice.architecture} keeps no particles; base it on another model"
                )

    def _check_start(self, model: str) -> None:
        """Whether the chain of trainings that a model starts from is there and comes to an end."""
        chain = [model]
        while start := self.per_model.get(chain[-1], ModelChanges()).starts_from:
            where = f"per_model.{chain[-1]}.starts_from"
            wanted = [start.run(run.seed) for run in self.runs if run.model == chain[-1]]
            if missing := [run for run in wanted if run not in self.runs]:
                seeds = [run.seed for run in self.runs if run[:2] == missing[0][:2]]
                known_ones = f"; it has {', '.join(map(str, seeds))}" if seeds else ""
                raise JetloomError(
                    f"{where}: no training of {start.model} on {start.dataset} with seed {missing[0].seed} "
                    f"in this experiment{known_ones}"
                )
            chain.append(start.model)
            if start.model in chain[:-1]:
                raise JetloomError(f"{where}: a training would wait for itself ({' waits for '.join(chain)})")


def read_experiment(path: Path, changes: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a configuration file.

    Args:
        path: of the file.
        changes: laid over what it says.

    Raises:
        JetloomError: no such file, no YAML, or a mistake in it.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise JetloomError(f"{path}: no such configuration") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise JetloomError(f"{path}: not a configuration (no YAML)") from None
    if not isinstance(values, dict):
        raise JetloomError(f"{path}: not a configuration (expected keys and values)")
    return parse_experiment(merge(values, changes or {}))


def parse_experiment(values: Mapping[str, Any]) -> Experiment:
    """The experiment described by the content of ``config.yaml``.

    Raises:
        JetloomError: the first mistake, with the key and what is allowed; all of them if the keys themselves are wrong.
    """
    return validate(Experiment, values, "")
