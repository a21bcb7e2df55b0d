"""What an experiment makes: its data, trainings and evaluations, each with its files and a key of what it is made from.

A key is known when the plan is made and decides which jobs Snakemake starts; the identity of an output
(:mod:`jetloom.identity.digests`) is known when a job has run, and each step compares it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jetloom.catalogue.cards import task_card
from jetloom.config import (
    DatasetChanges,
    DerivedDataset,
    Experiment,
    ModelChanges,
    Run,
    Training,
    arm_of,
)
from jetloom.evaluation.made_from import evaluation_fingerprint, setting_part
from jetloom.identity.code import fingerprint, model_fingerprint
from jetloom.identity.digests import short
from jetloom.training.made_from import CODE, all_options, chosen_options, task_fingerprint
from jetloom.workflow.data import DataPlan, Download, merged_downloads
from jetloom.workflow.derived import DerivedPlan


class Plan:
    """Everything that an experiment makes.

    Args:
        experiment: resolved configuration.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.results = f"{experiment.results_directory}/{experiment.experiment}"
        self.data = {name: self._data(name) for name in experiment.datasets}

    def _data(self, name: str) -> DataPlan:
        dataset, changes = self.experiment.dataset(name), self.experiment.per_dataset.get(name, DatasetChanges())
        if changes.made_by is not None:
            assert isinstance(dataset, DerivedDataset)
            return DerivedPlan(self, name, dataset, changes, changes.made_by)
        return DataPlan(self.experiment.data_directory, name, dataset, changes)

    @cached_property
    def derived(self) -> dict[str, DerivedPlan]:
        """Data sets that trainings make, by the directory of their skims; those of equal skims share one."""
        plans = [plan for plan in self.data.values() if isinstance(plan, DerivedPlan)]
        return {plan.skim_directory: plan for plan in plans}

    def made(self, wildcards: Any, verb: str) -> DerivedPlan:
        """The data set whose skims are in the directory that the wildcards ``home`` and ``key`` of a rule name.

        Args:
            wildcards: of the rule.
            verb: how the name of the directory begins.
        """
        return self.derived[f"{wildcards.home}/{verb}-{wildcards.key}"]

    @cached_property
    def compared(self) -> dict[str, DerivedPlan]:
        """Data sets whose jets should be like those of another one, by name."""
        plans = [plan for plan in self.data.values() if isinstance(plan, DerivedPlan)]
        return {plan.name: plan for plan in plans if plan.reference is not None}

    @property
    def closeness(self) -> list[str]:
        """``closeness.json`` of each of them."""
        return [f"{self.results}/{name}/closeness.json" for name in self.compared]

    @cached_property
    def tensors(self) -> dict[str, DataPlan]:
        """Data sets by the directory of their tensors; those that are equal share one."""
        return {plan.tensors_directory: plan for plan in self.data.values()}

    @cached_property
    def raw_of(self) -> dict[str, str]:
        """The raw file of each skim."""
        return {plan.skim(name): plan.raw[name].path for plan in self.data.values() for name in plan.raw}

    @cached_property
    def about(self) -> dict[str, dict[str, Any]]:
        """Directories of the data, with the content of their ``about.json``."""
        return {place: about for plan in self.data.values() for place, about in plan.places().items()}

    @cached_property
    def downloads(self) -> list[Download]:
        """Jobs that fetch public raw files."""
        return list(merged_downloads(self.data).values())

    @cached_property
    def trainings(self) -> dict[Run, "TrainingPlan"]:
        """All trainings."""
        return {run: TrainingPlan(self, run) for run in self.experiment.runs}

    def training(self, wildcards: Any) -> "TrainingPlan":
        """The training that the wildcards ``dataset``, ``model`` and ``seed`` of a rule name."""
        return self.trainings[Run(wildcards.dataset, wildcards.model, int(wildcards.seed))]

    def urgency(self, wildcards: Any) -> float:
        """Of a training, in (0, 1]: those that the configuration names first begin first."""
        return self._urgencies[self.training(wildcards).run]

    @cached_property
    def _urgencies(self) -> dict[Run, float]:
        return {run: 1 - place / len(self.trainings) for place, run in enumerate(self.trainings)}

    def directory(self, run: Run) -> str:
        """Where the files of a training are."""
        return f"{self.results}/{run.dataset}/{run.model}/seed{run.seed}"

    def files(self, name: str) -> list[str]:
        """A file of each training, in the order of the configuration."""
        return [f"{self.directory(run)}/{name}" for run in self.trainings]

    def evaluations(self, name: str) -> list[str]:
        """A file of each evaluation; a training whose task says nothing of a jet has none."""
        evaluated = [run for run in self.trainings if self._is_evaluated(run.model)]
        return [f"{self.directory(run)}/{name}" for run in evaluated]

    def _is_evaluated(self, model: str) -> bool:
        return task_card(self.experiment.tasks_of(model)[0].name).measures is not None

    @cached_property
    def costs(self) -> list[str]:
        """``cost.json`` of each model on each data set; of several numbers of labelled jets the last one's."""
        measured: dict[tuple[str, str], str] = {}
        for run, training in self.trainings.items():
            arm, _ = arm_of(run.model, "", training.recipe.labelled_jets)
            if measured.get((run.dataset, arm)) != arm:
                measured[run.dataset, arm] = run.model
        return [f"{self.results}/{dataset}/{model}/cost.json" for (dataset, _), model in measured.items()]

    @cached_property
    def _measured(self) -> dict[tuple[str, str], str]:
        """``cost.json`` of the first of equal networks on equal tensors, which is measured, by tensors and network."""
        first: dict[tuple[str, str], str] = {}
        for path in self.costs:
            first.setdefault(self._work(*path.split("/")[-3:-1]), path)
        return first

    def _work(self, dataset: str, model: str) -> tuple[str, str]:
        return self.data[dataset].tensors_directory, self.cost_key(dataset, model)

    def same_cost(self, dataset: str, model: str) -> str | None:
        """``cost.json`` of an equal network on equal tensors, if that is the one that is measured."""
        first = self._measured.get(self._work(dataset, model))
        return None if first == f"{self.results}/{dataset}/{model}/cost.json" else first

    @cached_property
    def benchmarks(self) -> list[str]:
        """Directories of Snakemake's benchmark files of this experiment and of its data."""
        places = [*self.about, *(download.directory for download in self.downloads)]
        of_data = [f"{Path(place).parent}/benchmarks/{Path(place).name}" for place in places]
        return [f"{self.results}/benchmarks", *of_data]

    def check(self) -> None:
        """Look for what only the plan can know, before any job starts.

        Raises:
            JetloomError: raw files are missing that the user said are there.
        """
        assert self.raw_of and self.about

    def model_key(self, dataset: str, model: str) -> str:
        """Digest of everything that an untrained model depends on."""
        choice = self.experiment.model(dataset, model)
        options = all_options(choice.architecture, chosen_options(*choice[:3]))
        return short(choice.architecture, options, model_fingerprint(choice.architecture))

    def truth(self, dataset: str) -> list[str]:
        """Manifest of the jets that those of a mixture should be like, if it names any."""
        plan = self.data[dataset]
        return [plan.truth.manifest] if isinstance(plan, DerivedPlan) and plan.truth else []

    def evaluation_key(self, dataset: str, model: str) -> str:
        """Digest of the settings and the code of an evaluation, which reads the model from the checkpoint."""
        described = self.experiment.dataset(dataset)
        settings = setting_part(self.experiment.evaluation, described.background, described.working_points)
        return short(settings, evaluation_fingerprint(item.name for item in self.experiment.tasks_of(model)))

    @cached_property
    def closeness_key(self) -> str:
        """Digest of the code that compares derived data sets with others."""
        return fingerprint("jetloom.derived.closeness")

    def cost_key(self, dataset: str, model: str) -> str:
        """Digest of the settings and the code of a measurement of cost."""
        settings = self.experiment.cost.model_dump(mode="json")
        return short(self.model_key(dataset, model), settings, fingerprint("jetloom.evaluation.cost"))

    def report_key(self) -> str:
        """Digest of what a report shows besides the results, and of its code."""
        tasks = {item.name for run in self.trainings for item in self.experiment.tasks_of(run.model)}
        shows = [module for name in sorted(tasks) if (module := task_card(name).shows)]
        code = fingerprint("jetloom.report.build", "jetloom.report.record.provenance", *shows)
        return short(self.experiment.report.model_dump(mode="json"), code)


@dataclass(frozen=True)
class TrainingPlan:
    """A training, with what it needs.

    Attributes:
        plan: of its experiment.
        run: data set, model and seed.
    """

    plan: Plan
    run: Run

    @cached_property
    def recipe(self) -> Training:
        """The recipe as resolved."""
        return self.plan.experiment.training_of(self.run.dataset, self.run.model)

    @property
    def start(self) -> Run | None:
        """The training of this experiment from whose weights it starts."""
        start = self.plan.experiment.per_model.get(self.run.model, ModelChanges()).starts_from
        return start.run(self.run.seed) if start else None

    @property
    def weights(self) -> str | None:
        """Checkpoint from which it starts."""
        if self.start:
            return f"{self.plan.directory(self.start)}/best.ckpt"
        return self.recipe.initial_weights

    @cached_property
    def key(self) -> str:
        """Digest of everything that is known of it beforehand."""
        data = self.plan.data[self.run.dataset].tensors_directory
        tasks = self.plan.experiment.tasks_of(self.run.model)
        return short(
            self.plan.model_key(self.run.dataset, self.run.model),
            [item.record() for item in tasks],
            task_fingerprint(tasks),
            self.recipe.learnt(),
            fingerprint(CODE),
            Path(data).name,
            self.run.seed,
            self._start_key(),
        )

    def _start_key(self) -> Any:
        if self.start:
            return self.plan.trainings[self.start].key
        if self.weights is None:
            return None
        path = Path(self.weights)
        return [self.weights, path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else [self.weights]

    @property
    def scratch(self) -> str:
        """Directory of the checkpoints while it runs."""
        experiment = self.plan.experiment
        name = f"{experiment.experiment}-{self.run.dataset}-{self.run.model}-seed{self.run.seed}-{self.key}"
        return f"{experiment.scratch_directory}/{name}"


def any_of(paths: Iterable[str]) -> str:
    """A regular expression of some paths; of none, one that fits nothing."""
    return "|".join(sorted(map(re.escape, paths))) or "(?!)"
