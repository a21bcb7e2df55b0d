"""The schema of ``config.yaml``, of the data-set presets and of the training recipes.

Snakemake and the command line parse with the same models, so a mistake is one line before any job starts.
"""

from jetloom.config.dataset import Dataset, RemoteFile, Simulation
from jetloom.config.derived import DerivedDataset, Generate, MadeBy, Tokenise, stored_dataset
from jetloom.config.effects import Effect, read_by
from jetloom.config.evaluation import Cost, Evaluation
from jetloom.config.experiment import (
    DatasetChanges,
    Experiment,
    ModelChanges,
    ModelChoice,
    Report,
    Start,
    Tracking,
    parse_experiment,
    read_experiment,
)
from jetloom.config.mistakes import validate
from jetloom.config.resolve import resolve_dataset, resolve_training
from jetloom.config.run import Run
from jetloom.config.scan import arm_of
from jetloom.config.section import Strict
from jetloom.config.task import Monitor, TaskChoice, monitor_of, resolve_tasks
from jetloom.config.training import Reweighting, Training, as_given
from jetloom.config.values import expand_braces, merge, parse_assignments, parse_value

__all__ = [
    "Cost",
    "Dataset",
    "DatasetChanges",
    "DerivedDataset",
    "Effect",
    "Evaluation",
    "Experiment",
    "Generate",
    "MadeBy",
    "ModelChanges",
    "ModelChoice",
    "Monitor",
    "RemoteFile",
    "Report",
    "Reweighting",
    "Run",
    "Simulation",
    "Start",
    "Strict",
    "TaskChoice",
    "Tokenise",
    "Tracking",
    "Training",
    "arm_of",
    "as_given",
    "expand_braces",
    "merge",
    "monitor_of",
    "parse_assignments",
    "parse_experiment",
    "parse_value",
    "read_by",
    "read_experiment",
    "resolve_dataset",
    "resolve_tasks",
    "resolve_training",
    "stored_dataset",
    "validate",
]
