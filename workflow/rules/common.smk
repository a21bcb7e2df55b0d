"""What all rules share: the validated experiment, paths, and the settings that each verb is given."""

import hashlib
import json
import shlex
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from jetloom.config import Run, merge, parse_experiment
from jetloom.errors import JetloomError
from jetloom.fingerprint import fingerprint, model_fingerprint
from jetloom.presets import model_card

try:
    EXPERIMENT = parse_experiment(config)
except JetloomError as error:
    raise WorkflowError(f"configuration: {error}") from None

DATA = EXPERIMENT.data_directory
RESULTS = EXPERIMENT.results_directory
SCRATCH = EXPERIMENT.scratch_directory
HERE = f"{RESULTS}/{EXPERIMENT.experiment}"
REPORT = f"{HERE}/report/index.html"

# Settings that a stage reads: what is not listed here does not rerun it. Points are sampled on the meshes in the skim.
SKIM_KEYS = {
    "jets": {"classes", "selection"},
    "points": {"classes", "selection", "max_particles", "buckets", "seed"},
}
TENSOR_KEYS = {
    *("classes", "selection", "max_particles", "buckets", "seed"),
    *("background", "feature_set", "shards", "splits", "title", "working_points"),
}


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
