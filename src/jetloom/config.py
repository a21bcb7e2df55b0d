"""The schema of ``config.yaml``, of the data-set presets and of the training recipes.

Snakemake and the command line parse with the same models, so a mistake is one line before any job starts.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise, product
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from jetloom import presets
from jetloom.errors import JetloomError
from jetloom.masking import masked
from jetloom.options import check_options

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(pattern=NAME)]


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reweighting(Strict):
    """Equally many jets of each class in each bin, by leaving jets out of a pass."""

    observer: str | None = Field(None, description="jet column of the bins, such as jet_pt; default: classes only")
    edges: list[float] = Field([], description="rising edges between the bins; what lies outside is two bins more")
    least: float = Field(0.01, gt=0, le=1, description="smallest part of the jets of a bin that a pass has")

    @model_validator(mode="after")
    def _bins(self) -> "Reweighting":
        if (self.observer is None) != (not self.edges):
            raise ValueError("observer and edges belong together; give both or none")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must rise")
        return self


class Training(Strict):
    """The recipe of one training."""

    epochs: int = Field(20, ge=1, description="passes over samples_per_epoch jets")
    batch_size: int = Field(128, ge=1, description="jets per step and device")
    samples_per_epoch: int | None = Field(None, ge=1, description="jets per epoch; default: the whole training split")
    validation_samples: int | None = Field(None, ge=1, description="jets per validation; default: the whole split")
    optimizer: Literal["adamw", "adam", "ranger"] = Field("adamw", description="ranger: Lookahead around RAdam")
    learning_rate: float = Field(1e-3, gt=0, description="the highest one of the schedule")
    weight_decay: float = Field(0.0, ge=0, description="decoupled; not on biases, norms, 1-d parameters and tokens")
    schedule: Literal["constant", "flat_decay", "cosine", "restarts", "steps"] = Field(
        "cosine",
        description="flat_decay: the last 30 % of epochs fall to 1 % of the rate (ParT); restarts: cosines of 4, 8, "
        "16 ... epochs, then four epochs of halving (LorentzNet); steps: 0.7 times the rate after each 5M jets (PCT)",
    )
    warmup_fraction: float = Field(0.0, ge=0, lt=1, description="part of all steps with linearly rising rate")
    gradient_clip: float | None = Field(None, gt=0, description="largest gradient norm")
    # YAML reads 32 as a number.
    precision: Annotated[Literal["auto", "32", "bf16", "16"], BeforeValidator(str)] = Field(
        "auto", description="auto: bf16 where the GPU has it, 16 on older GPUs, 32 on CPU"
    )
    monitor: Literal["accuracy", "loss"] = Field(
        "accuracy", description="validation figure that chooses the best epoch"
    )
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better one")
    batch_phases: list[tuple[int, int]] | None = Field(
        None, description="[batch size, epochs] in turn (SAL-T recipe); replaces batch_size and epochs"
    )
    head_learning_rate_factor: float = Field(
        1.0, gt=0, description="the last layer learns so much faster (fine-tuning)"
    )
    initial_weights: str | None = Field(None, description="checkpoint to start from (fine-tuning)")
    reweighting: Reweighting | None = Field(None, description="flat classes and spectra by sampling; default: all jets")
    devices: int = Field(1, ge=1, description="GPUs per node; 1 also means the CPU")
    nodes: int = Field(1, ge=1, description="machines of one training")
    workers: int = Field(0, ge=0, description="threads that gather batches ahead; useful with a GPU")
    checkpoint_minutes: float = Field(10.0, gt=0, description="longest training time that a kill may lose")


class Simulation(Strict):
    """How a simulated data set is made."""

    jets: dict[str, int] = Field(description="jets (or meshes) per class and raw file, for each split")
    seed: int = Field(1, ge=0, description="same seed, same jets")
    detector: Literal["jetclass", "ideal"] = Field("jetclass", description="ideal: tracks keep their momentum")
    mpi: bool = Field(True, description="multiparton interactions")


class RemoteFile(Strict):
    """One file of a public data set, as its publisher offers it."""

    name: str = Field(
        pattern=r"^[\w.+-]+(/[\w.+-]+)*$", description="below a mirror; without `holds` also the raw file"
    )
    url: str = Field("", description="at the publisher")
    size: int | None = Field(None, ge=0, description="bytes")
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$", description="checksum; without one it is learnt")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="checksum, before md5")
    holds: list[str] = Field(default_factory=list, description="raw files or directories an archive holds, or may hold")
    rename: dict[str, str] = Field(
        default_factory=dict, description="pattern of a member's whole path: path instead; the first that fits"
    )

    def raw_files(self) -> list[str]:
        """Raw files that come from this one, brace ranges expanded."""
        return [name for pattern in self.holds for name in expand_braces(pattern)] or [self.name]


class Dataset(Strict):
    """A data set: preset plus the changes of ``per_dataset``."""

    title: str = Field(description="name in the report")
    kind: Literal["jets", "points"] = Field(description="jets of particles with four-vectors, or point clouds")
    source: str = Field(description="module of jetloom.data.sources that reads the raw files")
    simulated: bool = Field(False, description="made by jetloom; the report says so")
    licence: str = Field(description="of the public files")
    citation: str = Field(description="BibTeX")
    homepage: str = Field("", description="where the files are published")
    classes: list[str] = Field(min_length=2, description="label names; the position is the class index")
    background: str | None = Field(None, description="class against which rejections are quoted")
    working_points: dict[str, float] = Field(default_factory=dict, description="signal efficiency per class")
    size: str = Field("", description="to download, in words")
    files: list[RemoteFile] = Field(default_factory=list, description="what to download")
    mirrors: list[str] = Field(
        default_factory=list, description="tried before the publisher: URLs, file:// or directories that hold `files`"
    )
    splits: dict[Literal["train", "val", "test"] | Annotated[str, Field(pattern=r"^test_\w+$")], list[str]]
    selection: dict[str, tuple[float | None, float | None]] = Field(
        default_factory=dict, description="closed range [low, high] of a jet column; null is open"
    )
    feature_set: Literal["kin", "kinpid", "full", "salt_hls4ml", "salt_top", "salt_qg", "xyz"] = Field(
        description="7, 13 or 17 inputs per particle, or 3 as SAL-T has them on a data set; 3 per point"
    )
    max_particles: int = Field(128, ge=1, description="particles (or points) kept, those of highest pT")
    buckets: list[int] = Field(default_factory=list, description="padded lengths; the last is max_particles")
    shards: dict[str, int] = Field(default_factory=dict, description="shards per split; default 1")
    seed: int = Field(1, ge=0, description="of the mixing and of the points sampled on a mesh")
    simulation: Simulation | None = Field(None, description="how to make the raw files; null: they are public")
    preset: str | None = Field(None, description="model preset that fits this data set")

    @model_validator(mode="after")
    def _consistent(self) -> "Dataset":
        if self.buckets and (self.buckets != sorted(set(self.buckets)) or self.buckets[-1] != self.max_particles):
            raise ValueError(f"buckets must rise and end at max_particles = {self.max_particles}, got {self.buckets}")
        for split in self.shards:
            if split not in self.splits:
                raise ValueError(f"shards.{split}: no such split; allowed: {', '.join(self.splits)}")
        for name in [*self.working_points, *([self.background] if self.background else [])]:
            if name not in self.classes:
                raise ValueError(f"{name} is not among the classes {', '.join(self.classes)}")
        owner: dict[str, str] = {}
        for split in self.splits:
            for file in self.raw_files(split):
                if file in owner:
                    raise ValueError(f"splits.{split}: {file} is in {owner[file]} already; a file may be listed once")
                owner[file] = split
        return self

    def raw_files(self, split: str) -> list[str]:
        """Raw files of a split, relative to the data set's raw directory, brace ranges expanded."""
        return [name for pattern in self.splits[split] for name in expand_braces(pattern)]


class DatasetChanges(BaseModel):
    """``per_dataset.<name>``: any key of the data-set preset, and what this experiment trains on it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    based_on: str | None = Field(None, description="preset, if this name is not one itself")
    raw: str | None = Field(None, description="directory that holds the raw files already; default: in data_directory")
    models: list[Name] | None = Field(None, description="default: the models of the top level")
    seeds: list[int] | None = Field(None, min_length=1, description="default: the seeds of the top level")
    training: dict[str, Any] = Field(default_factory=dict, description="recipe, over that of the top level")


class Start(Strict):
    """A training of the same experiment from whose weights another one starts."""

    dataset: str = Field(description="one of `datasets`")
    model: str = Field(description="one of its models, of the same architecture and options")
    seed: int = Field(description="one of its seeds")


class ModelChanges(Strict):
    """``per_model.<name>``: preset, options and recipe of one architecture, or of a variant of one."""

    based_on: str | None = Field(None, description="architecture, if this name is a variant")
    preset: str | None = Field(None, description="default: the preset of the top level")
    options: dict[str, Any] = Field(default_factory=dict, description="of the architecture: `jetloom models NAME`")
    training: dict[str, Any] = Field(default_factory=dict, description="recipe, over that of the data set")
    seeds: list[int] | None = Field(None, min_length=1, description="default: those of the data set")
    starts_from: Start | None = Field(
        None, description="training of this experiment to start from (fine-tuning): `dataset`, `model`, `seed`"
    )
    title: str | None = Field(None, description="name in tables and figures")


class Evaluation(Strict):
    """What is computed on the test split."""

    batch_size: int = Field(512, ge=1, description="jets scored at once")
    bootstrap: int = Field(200, ge=2, description="resamplings behind each interval")
    confidence: float = Field(0.68, gt=0, lt=1, description="coverage of the intervals")
    efficiencies: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=list, description="signal efficiencies of further rejections, beside the working points"
    )
    mean_rejection: float | None = Field(
        None, gt=0, lt=1, description="signal efficiency of the mean rejection over the signal classes (SAL-T paper)"
    )


class Cost(Strict):
    """What is measured on this machine."""

    batch_sizes: list[int] = Field([1, 16, 128, 512], min_length=1, description="of latency and throughput")
    particles: list[int] = Field([16, 32, 64, 128, 256, 512], min_length=1, description="of latency and peak memory")
    seconds: float = Field(0.5, gt=0, description="time spent on each point")


class Report(Strict):
    """What the page shows."""

    title: str = Field("Jet taggers compared", description="headline")


class Tracking(Strict):
    """Where MLflow runs go."""

    uri: str | None = Field(None, description="default: MLFLOW_TRACKING_URI, else SQLite in the results directory")
    offline: bool = Field(False, description="trainings ask no server; the last rule or `jetloom mlflow sync` sends")
    onnx: bool = Field(True, description="register the best models as ONNX, seconds for each; else as checkpoints")

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str | None) -> str | None:
        if uri is not None and masked(uri) != uri:
            raise ValueError("it holds a password; leave the key out and set the variable MLFLOW_TRACKING_URI")
        return uri

    @field_validator("uri")
    @classmethod
    def _no_secret(cls, uri: str | None) -> str | None:
        # Commands and logs show the configuration; pydantic would show the value.
        if uri and re.search(r"//[^/@]*@", uri):
            raise JetloomError(
                "tracking.uri: holds a user or password; set MLFLOW_TRACKING_URI in the environment instead"
            )
        return uri


class Run(NamedTuple):
    """One training."""

    dataset: str
    model: str
    seed: int


class ModelChoice(NamedTuple):
    """An architecture with its preset and the options that differ from it."""

    architecture: str
    preset: str
    options: dict[str, Any]
    title: str


def _unique(values: Any) -> Any:
    if isinstance(values, list) and len(set(map(str, values))) != len(values):
        raise ValueError("the same entry twice")
    return values


class Experiment(Strict):
    """``config.yaml``."""

    experiment: Name = Field(description="names the directory of the results and the MLflow experiments")
    datasets: Annotated[list[Name], BeforeValidator(_unique)] = Field(min_length=1, description="`jetloom datasets`")
    models: Annotated[list[Name], BeforeValidator(_unique)] = Field(min_length=1, description="`jetloom models`")
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_unique)] = Field(
        min_length=1, description="one training for each"
    )
    preset: str | None = Field(None, description="model preset; default: the one named by the data set")
    training: dict[str, Any] = Field(default_factory=dict, description="recipe, over the model preset's own")
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
    data_directory: str = Field("data", description="raw files, skims and tensors, shared by experiments")
    results_directory: str = Field("results", description="one directory per experiment, and the MLflow store")
    scratch_directory: str = Field("scratch", description="checkpoints of running trainings")

    @model_validator(mode="before")
    @classmethod
    def _scaled(cls, values: Any) -> Any:
        """The experiment at its scale; results go to a directory of their own."""
        if not isinstance(values, dict) or values.get("scale") is None:
            return values
        scale, scales = values["scale"], values.get("scales") or {}
        if scale not in scales:
            raise JetloomError(_unknown("scale", str(scale), list(scales)))
        scaled = merge({key: value for key, value in values.items() if key not in ("scale", "scales")}, scales[scale])
        scaled["experiment"] = f"{values.get('experiment')}-{scale}"
        # A trial is not what is published.
        scaled["paper"] = scales[scale].get("paper", False)
        # What a smaller form leaves out is no mistake there.
        of_datasets = {key: value for key, value in (scaled.get("per_dataset") or {}).items()
                       if key in scaled.get("datasets", [])}  # fmt: skip
        listed = set(scaled.get("models", [])).union(
            *((value or {}).get("models") or [] for value in of_datasets.values())
        )
        of_models = {key: value for key, value in (scaled.get("per_model") or {}).items() if key in listed}
        return scaled | {"per_dataset": of_datasets, "per_model": of_models}

    def dataset(self, name: str) -> Dataset:
        """The data set with this experiment's changes."""
        return self._datasets[name]

    @cached_property
    def _datasets(self) -> dict[str, Dataset]:
        return {name: self._resolve_dataset(name) for name in self.datasets}

    def _resolve_dataset(self, name: str) -> Dataset:
        changes = self.per_dataset.get(name, DatasetChanges())
        based_on = changes.based_on or name
        where = f"per_dataset.{name}.based_on" if changes.based_on else "datasets"
        if based_on not in presets.names("datasets"):
            raise JetloomError(_unknown(where, based_on, presets.names("datasets")))
        return resolve_dataset(based_on, changes.model_extra or {}, f"per_dataset.{name}")

    def models_of(self, dataset: str) -> list[str]:
        """Models trained on a data set, in the order of the configuration."""
        changes = self.per_dataset.get(dataset)
        return changes.models if changes and changes.models is not None else self.models

    def model(self, dataset: str, model: str) -> ModelChoice:
        """Which architecture a model name stands for on a data set, in which preset, with which options."""
        changes = self.per_model.get(model, ModelChanges())
        architecture = changes.based_on or model
        card = presets.model_card(architecture)
        preset = changes.preset or self.preset or self.dataset(dataset).preset or "tiny"
        return ModelChoice(architecture, preset, changes.options, changes.title or card.title)

    def training_of(self, dataset: str, model: str) -> Training:
        """The recipe: preset of the model, then ``training``, ``per_dataset``, ``per_model``, the last one wins."""
        choice = self.model(dataset, model)
        card = presets.model_card(choice.architecture)
        return resolve_training(
            card.presets[choice.preset].training
            | self.training
            | (self.per_dataset[dataset].training if dataset in self.per_dataset else {})
            | (self.per_model[model].training if model in self.per_model else {}),
            f"training of {model} on {dataset}",
        )

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
    def _known_names(self) -> "Experiment":
        architectures = presets.names("models")
        resolve_training(self.training, "training")
        for kind in ("per_dataset", "per_model"):
            for name, changes in getattr(self, kind).items():
                resolve_training(changes.training, f"{kind}.{name}.training")
        for name in self.per_dataset:
            if name not in self.datasets:
                raise JetloomError(_unknown("per_dataset", name, self.datasets))
        listed = set(self.models).union(*(self.models_of(name) for name in self.datasets))
        for name in self.per_model:
            if name not in listed:
                raise JetloomError(_unknown("per_model", name, sorted(listed)))
        for dataset in self.datasets:
            resolved = self.dataset(dataset)
            for model in self.models_of(dataset):
                changes = self.per_model.get(model, ModelChanges())
                architecture = changes.based_on or model
                if architecture not in architectures:
                    where = f"per_model.{model}.based_on" if changes.based_on else "models"
                    raise JetloomError(_unknown(where, architecture, architectures))
                choice = self.model(dataset, model)
                card = presets.model_card(architecture)
                if resolved.kind not in card.inputs:
                    raise JetloomError(
                        f"models: {model} reads {' or '.join(card.inputs)}, {dataset} holds {resolved.kind}; "
                        f"name the models of {dataset} in per_dataset.{dataset}.models"
                    )
                if choice.preset not in card.presets:
                    raise JetloomError(_unknown(f"preset of {model}", choice.preset, list(card.presets)))
                check_options(architecture, choice.options, f"per_model.{model}.options")
                self.training_of(dataset, model)
                start = changes.starts_from
                if start and Run(start.dataset, start.model, start.seed) not in self.runs:
                    raise JetloomError(
                        f"per_model.{model}.starts_from: no training of {start.model} on {start.dataset} with seed "
                        f"{start.seed} in this experiment"
                    )
        return self


def resolve_dataset(name: str, changes: Mapping[str, Any], where: str) -> Dataset:
    """A data-set preset with changes merged in, key by key.

    Raises:
        JetloomError: unknown preset, unknown key, wrong type, class that does not exist.
    """
    preset = presets.read("datasets", name)
    classes = changes.get("classes")
    if isinstance(classes, list):
        for label in classes:
            if label not in preset["classes"]:
                raise JetloomError(_unknown(f"{where}.classes", str(label), preset["classes"]))
        if "working_points" not in changes:
            points = {key: value for key, value in preset.get("working_points", {}).items() if key in classes}
            preset = preset | {"working_points": points}
        if preset.get("background") not in classes and "background" not in changes:
            preset = preset | {"background": None}
    return validate(Dataset, merge(preset, changes), where)


def resolve_training(values: Mapping[str, Any], where: str = "training") -> Training:
    """A recipe from the values that differ from the defaults.

    Raises:
        JetloomError: unknown key or wrong type.
    """
    return validate(Training, values, where)


def parse_experiment(values: Mapping[str, Any]) -> Experiment:
    """The experiment described by the content of ``config.yaml``.

    Raises:
        JetloomError: the first mistake, with the key and what is allowed; all of them if the keys themselves are wrong.
    """
    return validate(Experiment, values, "")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, section by section; lists and values are replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["a.b=1", "c=[1, 2]"]`` as ``{"a": {"b": 1}, "c": [1, 2]}``; values are YAML.

    Raises:
        JetloomError: no ``=``, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise JetloomError(f"{assignment!r}: expected KEY=VALUE")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise JetloomError(f"{assignment!r}: the value is not YAML") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def expand_braces(pattern: str) -> Iterator[str]:
    """``a_{x,y}_{00..02}.root`` as the shell would expand it, ranges with leading zeros."""
    parts: list[list[str]] = []
    for text, braces in re.findall(r"([^{]+)|\{([^}]*)\}", pattern):
        if text:
            parts.append([text])
        elif interval := re.fullmatch(r"(\d+)\.\.(\d+)", braces):
            first, last = interval.groups()
            parts.append([str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)])
        else:
            parts.append(braces.split(","))
    return map("".join, product(*parts))


def validate(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Validate, with every mistake as one line of a JetloomError."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [_explain(model, item, where) for item in error.errors()]
        raise JetloomError("\n".join(lines)) from None


def _explain(model: type[BaseModel], error: Any, where: str) -> str:
    path = ".".join(str(part) for part in error["loc"])
    key = ".".join(part for part in (where, path) if part)
    match error["type"]:
        case "extra_forbidden":
            return _unknown(where=key.rpartition(".")[0] or "top level", got=str(error["loc"][-1]),
                            allowed=_allowed(model, error["loc"][:-1]), what="unknown key")  # fmt: skip
        case "missing":
            return f"{key}: missing; it is required"
        case "value_error":
            return f"{key or 'configuration'}: {error['ctx']['error']}"
        case _:
            return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _allowed(model: Any, path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), model)
    return list(model.model_fields)


def _unknown(where: str, got: str, allowed: list[str], what: str = "unknown name") -> str:
    close = difflib.get_close_matches(got, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{where}: {what} {got!r}{hint}; allowed: {', '.join(allowed)}"
