"""What all rules share: the validated experiment, paths, and the settings that each verb is given."""

import hashlib
import json
import shlex
import sys
from pathlib import Path

import yaml

from jetloom.config import Run, merge, parse_experiment
from jetloom.data.simulate.processes import PROCESS_OF
from jetloom.environment import require_commit
from jetloom.errors import JetloomError
from jetloom.fingerprint import fingerprint, model_fingerprint
from jetloom.presets import model_card

try:
    EXPERIMENT = parse_experiment(config)
except JetloomError as error:
    sys.exit(f"configuration: {error}")

if EXPERIMENT.paper and workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        require_commit()
    except JetloomError as error:
        sys.exit(f"workflow: {error}")

DATA = EXPERIMENT.data_directory
RESULTS = EXPERIMENT.results_directory
SCRATCH = EXPERIMENT.scratch_directory
HERE = f"{RESULTS}/{EXPERIMENT.experiment}"
REPORT = f"{HERE}/report/index.html"

LABEL_OF = {process: label for label, process in PROCESS_OF.items()}

TRAINING_CODE = fingerprint("jetloom.training.train")

# Settings that a stage reads: what is not listed here does not rerun it. Points are sampled on the meshes in the skim.
SKIM_KEYS = {
    "jets": {"classes", "selection"},
    "points": {"classes", "selection", "max_particles", "buckets", "seed"},
}
TENSOR_KEYS = {
    *("classes", "selection", "max_particles", "buckets", "seed"),
    *("background", "feature_set", "shards", "splits", "title", "working_points"),
}

# How a training is run, which changes nothing in what it learns.
HANDLING = {"workers", "checkpoint_minutes"}


wildcard_constraints:
    dataset="|".join(EXPERIMENT.datasets),
    model="|".join(sorted({run.model for run in EXPERIMENT.runs})),
    seed=r"\d+",
    split="|".join(sorted({split for name in EXPERIMENT.datasets for split in EXPERIMENT.dataset(name).splits})),
    shard=r"\d{3}",


def preset_of(wildcards):
    """The preset behind a data set of the configuration."""
    changes = EXPERIMENT.per_dataset.get(wildcards.dataset)
    return changes.based_on if changes and changes.based_on else wildcards.dataset


def assignments(values, flag="--set", prefix=""):
    """Settings as arguments of a verb."""
    words = []
    for key, value in values.items():
        if isinstance(value, dict):
            words.append(assignments(value, flag, f"{prefix}{key}."))
        else:
            words.append(f"{flag} {shlex.quote(f'{prefix}{key}={json.dumps(value)}')}")
    return " ".join(filter(None, words))


def dataset_settings(wildcards, keys):
    """The changes of a data set that matter to a stage, as arguments."""
    changes = EXPERIMENT.per_dataset.get(wildcards.dataset)
    extra = (changes.model_extra or {}) if changes else {}
    return assignments({key: value for key, value in extra.items() if key in keys})


def skim_keys(wildcards):
    """Settings that the skim of a data set reads."""
    return SKIM_KEYS[EXPERIMENT.dataset(wildcards.dataset).kind]


def digest(*parts):
    """Short hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def dataset_digest(wildcards, keys, *modules):
    """Hash of the resolved settings of a data set and of the code that a stage runs."""
    dataset = EXPERIMENT.dataset(wildcards.dataset)
    return digest(dataset.model_dump(mode="json", include=keys), fingerprint(*modules))


def raw_output(dataset, name):
    """A raw file as an output; what has no suffix is a directory."""
    path = raw_path(dataset, name)
    return path if "." in name.rpartition("/")[2] else directory(path)


def download_facts(name):
    """Preset, changed settings and mirrors of a data set, as arguments."""
    changes = EXPERIMENT.per_dataset.get(name)
    extra = (changes.model_extra or {}) if changes else {}
    settings = assignments({key: value for key, value in extra.items() if key in ("splits", "files")})
    mirrors = " ".join(f"--mirror {shlex.quote(mirror)}" for mirror in EXPERIMENT.dataset(name).mirrors)
    return (changes and changes.based_on) or name, settings, mirrors


def raw_directory(wildcards, output):
    """The directory of the raw files among which a download's outputs are."""
    return next(parent for parent in Path(output[0]).parents if parent.name == "raw")


def raw_path(dataset, name):
    """Where a raw file lies."""
    changes = EXPERIMENT.per_dataset.get(dataset)
    return f"{changes.raw if changes and changes.raw else f'{DATA}/{dataset}/raw'}/{name}"


def skim_settings(dataset):
    """Everything that a skim is made from."""
    resolved, changes = EXPERIMENT.dataset(dataset), EXPERIMENT.per_dataset.get(dataset)
    settings = resolved.model_dump(mode="json", include={"source", *SKIM_KEYS[resolved.kind]})
    return settings, (changes and changes.raw) or f"{DATA}/{dataset}/raw"


# Data sets that read the same files in the same way share their skims: the first one makes them.
SKIMMED_AS = {
    dataset: next(first for first in EXPERIMENT.datasets if skim_settings(first) == skim_settings(dataset))
    for dataset in EXPERIMENT.datasets
}


def skim_path(dataset, name):
    """The skim of a raw file."""
    return f"{DATA}/{SKIMMED_AS[dataset]}/skim/{name.removesuffix('.root')}.parquet"


def simulated_jets(wildcards):
    """Jets in a simulated ROOT file: the number of its split."""
    dataset = EXPERIMENT.dataset(wildcards.dataset)
    name = f"{wildcards.process}_{wildcards.number}.root"
    split = next(split for split in dataset.splits if name in dataset.raw_files(split))
    return dataset.simulation.jets[split]


def simulation(wildcards):
    """The simulation section of a data set."""
    return EXPERIMENT.dataset(wildcards.dataset).simulation


def simulation_flags(wildcards):
    """Detector and multiparton interactions as arguments."""
    settings = simulation(wildcards)
    return f"--detector {settings.detector} {'--mpi' if settings.mpi else '--no-mpi'}"


def skims_of(wildcards):
    """All skims of a split."""
    return [
        skim_path(wildcards.dataset, name) for name in EXPERIMENT.dataset(wildcards.dataset).raw_files(wildcards.split)
    ]


def shards_of(wildcards):
    """All shards of a data set."""
    dataset = EXPERIMENT.dataset(wildcards.dataset)
    return [
        f"{DATA}/{wildcards.dataset}/tensors/{split}_{shard:03d}.safetensors"
        for split in dataset.splits
        for shard in range(dataset.shards.get(split, 1))
    ]


def recipe_changes(dataset, model):
    """What differs from the recipe of the model's preset."""
    values = EXPERIMENT.training
    if dataset in EXPERIMENT.per_dataset:
        values = merge(values, EXPERIMENT.per_dataset[dataset].training)
    if model in EXPERIMENT.per_model:
        values = merge(values, EXPERIMENT.per_model[model].training)
        if EXPERIMENT.per_model[model].starts_from:
            values = merge(values, {"initial_weights": start_of(model)[0]})
    return values


def start_of(model):
    """Checkpoint from which a model of the configuration starts, in a list; none: from nothing."""
    changes = EXPERIMENT.per_model.get(model)
    start = changes.starts_from if changes else None
    return [f"{HERE}/{start.dataset}/{start.model}/seed{start.seed}/best.ckpt"] if start else []


def recipe_flags(wildcards):
    """The recipe of a training as arguments, but for what changes nothing in its result."""
    changes = recipe_changes(wildcards.dataset, wildcards.model)
    return assignments({key: value for key, value in changes.items() if key not in HANDLING})


def handling_flags(wildcards, threads):
    """The rest of it. Snakemake does not compare parameters that ask for ``threads``: these train nothing again."""
    changes = recipe_changes(wildcards.dataset, wildcards.model)
    return assignments({key: value for key, value in changes.items() if key in HANDLING})


def title_flag(wildcards, threads):
    """Title of a model as an argument; not compared either."""
    return f"--title {shlex.quote(EXPERIMENT.model(wildcards.dataset, wildcards.model).title)}"


def model_flags(wildcards):
    """Architecture, preset, options and name as arguments of train and cost."""
    choice = EXPERIMENT.model(wildcards.dataset, wildcards.model)
    return (
        f"--model {choice.architecture} --preset {choice.preset} {assignments(choice.options, '--option')}"
        f" --dataset {wildcards.dataset} --name {wildcards.model}"
    )


def model_digest(wildcards):
    """Hash of everything that an untrained model depends on."""
    choice = EXPERIMENT.model(wildcards.dataset, wildcards.model)
    preset = model_card(choice.architecture).presets[choice.preset].options
    return digest(choice.architecture, merge(preset, choice.options), model_fingerprint(choice.architecture))


def training_digest(wildcards):
    """Hash of everything that a training depends on, its data aside: those are an input."""
    recipe = EXPERIMENT.training_of(wildcards.dataset, wildcards.model)
    learning = recipe.model_dump(mode="json", exclude=HANDLING)
    return digest(model_digest(wildcards), learning, TRAINING_CODE, *start_of(wildcards.model))
