"""What an experiment will take: jobs, disk and core-hours of each stage, from figures of docs/scale.md."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.workflow.data import DataPlan, Download
from jetloom.workflow.derived import DerivedPlan
from jetloom.workflow.plan import Plan, TrainingPlan

# Measured on one core with jets in the format of JetClass: docs/scale.md, benchmarks/results/simulate.json.
SIMULATED = 88.0
"""Jets per second."""
SKIMMED = 63_000.0
PACKED = 38_000.0
"""Of tensors."""
RAW_BYTES = 1_600
"""Of a simulated jet."""
SKIM_BYTES = 1_460
PARTICLES = 4_440 / (4 * (17 + 4 + 2))
"""Slots of a jet with the padding of the buckets: bytes of a jet over those of a particle, 17 inputs, (px, py, pz, E)
and two coordinates."""
ROW_GROUP = 1_000
"""Jets that are decoded at once, whatever part of them a shard takes."""
START = 2.0
"""Seconds of imports in each job."""
HOUR = 3600.0


@dataclass(frozen=True)
class Stage:
    """A line of the forecast.

    Attributes:
        name: of the stage.
        jobs: how many there are.
        there: how many of them have their files already.
        jets: what they read; None: not known.
        disk: bytes that they write; None: not known, 0: next to nothing.
        hours: of one core, or of the devices of a training; None: not known.
        words: what else there is to say.
    """

    name: str
    jobs: int
    there: int
    jets: float | None = None
    disk: float | None = None
    hours: float | None = None
    words: str = ""


def forecast(plan: Plan, rate: float | None = None) -> list[Stage]:
    """The stages of an experiment, in their order; those without jobs are left out.

    Args:
        plan: of the experiment.
        rate: jets that a training learns per second; default: as those of the same network that have ended here.
    """
    data = [plan_ for plan_ in plan.data.values() if not isinstance(plan_, DerivedPlan)]
    derived = list(plan.derived.values())
    stages = [
        _simulate(data),
        *(_download(item) for item in plan.downloads),
        _skim(data),
        _derive(derived),
        _tensors(list(plan.tensors.values())),
        _train(plan, rate),
        _files("evaluate", plan.evaluations("metrics.json"), sum(_tested(plan)) if all(_tested(plan)) else None),
        _files("measure cost", plan.costs),
        _files("report", [f"{plan.results}/report/index.html"]),
    ]
    return [stage for stage in stages if stage.jobs]


def jets_of(plan: DataPlan, split: str) -> float | None:
    """Jets of a split before the selection, about; None where nobody says how many its raw files hold."""
    if not isinstance(plan, DerivedPlan):
        return _sum(_jets_in(plan, split, name) for name in plan.dataset.raw_files(split))
    if plan.made_by.generate:
        return plan.made_by.generate.jets.get(split)
    sources = [jets_of(source, split) for source in plan.sources]
    return _sum(sources) if plan.made_by.compare else sources[0]


def _jets_in(plan: DataPlan, split: str, name: str) -> float | None:
    made = plan.dataset.simulation
    if made and plan.given_raw is None:
        return made.jets[split]
    return next((jets for pattern, jets in plan.dataset.jets_per_file.items() if fnmatchcase(name, pattern)), None)


def _simulate(plans: Iterable[DataPlan]) -> Stage:
    made = {
        plan.raw[name].path: (plan.dataset.simulation.jets[split], plan.dataset.kind)
        for plan in plans
        if plan.dataset.simulation and plan.given_raw is None
        for split in plan.dataset.splits
        for name in plan.dataset.raw_files(split)
    }
    jets = sum(number for number, kind in made.values() if kind == "jets")
    seconds = jets / SIMULATED + START * len(made)
    total = sum(number for number, _ in made.values())
    return Stage("simulate", len(made), _there(made), total, jets * RAW_BYTES, seconds / HOUR)


def _download(fetch: Download) -> Stage:
    largest = max(fetch.members, key=lambda plan: len(plan.raw))
    there = sum(all(Path(path).exists() for path in part.raw) * len(part.archives) for part in fetch.parts)
    there += _there(f"{fetch.directory}/{name}" for name in fetch.plain)
    jets = _sum(jets_of(largest, split) for split in largest.dataset.splits)
    return Stage(
        f"download {fetch.name}", len(fetch.plain) + len(fetch.archives), there, jets, words=largest.dataset.size
    )


def _skim(plans: Iterable[DataPlan]) -> Stage:
    skims = {
        plan.skim(name): (_jets_in(plan, split, name), plan)
        for plan in plans
        for split in plan.dataset.splits
        for name in plan.dataset.raw_files(split)
    }
    jets = _sum(number for number, _ in skims.values())
    size = _sum(None if number is None else number * _skim_bytes(plan) for number, plan in skims.values())
    hours = None if jets is None else (jets / SKIMMED + START * len(skims)) / HOUR
    return Stage("skim", len(skims), _there(skims), jets, size, hours)


def _skim_bytes(plan: DataPlan) -> float:
    return 4.0 * 3 * plan.dataset.max_particles if plan.dataset.kind == "points" else SKIM_BYTES


def _derive(plans: Iterable[DerivedPlan]) -> Stage:
    skims = {path for plan in plans for split in plan.dataset.splits for path in plan.skims(split)}
    jets = _sum(jets_of(plan, split) for plan in plans for split in plan.dataset.splits)
    return Stage("derive", len(skims), _there(skims), jets, None if jets is None else jets * SKIM_BYTES)


def _tensors(plans: Iterable[DataPlan]) -> Stage:
    shards, jets, size, seconds = 0, 0.0, 0.0, 0.0
    there, known = 0, True
    for plan in plans:
        shards += len(plan.shards())
        there += _there(plan.shards())
        for split in plan.dataset.splits:
            number = jets_of(plan, split)
            if number is None:
                known = False
                continue
            files, parts = len(plan.skims(split)), plan.dataset.shards.get(split, 1)
            taken = number / files / parts
            decoded = min(max(taken, ROW_GROUP), number / files) / taken
            jets += number
            size += number * _shard_bytes(plan)
            seconds += number / PACKED * decoded
    hours = (seconds + START * shards) / HOUR if known else None
    return Stage("tensors", shards, there, jets if known else None, size if known else None, hours)


def _shard_bytes(plan: DataPlan) -> float:
    dataset = plan.dataset
    if dataset.kind == "tokens":
        return min(PARTICLES, dataset.max_particles) * (2 + 4 * 2)
    if dataset.kind == "points":
        return dataset.max_particles * 4.0 * (len(FEATURE_SETS[dataset.feature_set]) + 3)
    return min(PARTICLES, dataset.max_particles) * 4.0 * (len(FEATURE_SETS[dataset.feature_set]) + 4 + 2)


def _train(plan: Plan, rate: float | None) -> Stage:
    trainings = [_Training(training) for training in plan.trainings.values()]
    known = {item.network: item.rate for item in trainings if item.rate}
    hours = []
    for item in trainings:
        speed = rate or known.get(item.network)
        hours.append(item.jets / speed / HOUR if item.jets is not None and speed else None)
    jets, total = _sum(item.jets for item in trainings), _sum(hours)
    return Stage("train", len(trainings), sum(item.ended for item in trainings), jets, hours=total)


@dataclass(frozen=True)
class _Training:
    training: TrainingPlan

    @property
    def network(self) -> tuple[str, str]:
        """What decides how fast it is."""
        return self.training.run.dataset, self.training.run.model

    @cached_property
    def jets(self) -> float | None:
        """Jets that it learns from, each as often as it is shown."""
        recipe, run = self.training.recipe, self.training.run
        epoch = recipe.samples_per_epoch or jets_of(self.training.plan.data[run.dataset], "train")
        return None if epoch is None else epoch * sum(epochs for _, epochs in recipe.phases)

    @property
    def _summary(self) -> Path:
        return Path(self.training.plan.directory(self.training.run)) / "training.json"

    @property
    def ended(self) -> bool:
        return self._summary.is_file()

    @cached_property
    def rate(self) -> float | None:
        """Jets per second of one that has ended."""
        try:
            seconds: float = json.loads(self._summary.read_text())["seconds"]
        except (OSError, ValueError, KeyError):
            return None
        return self.jets / seconds if self.jets and seconds else None


def _tested(plan: Plan) -> list[float]:
    return [
        jets_of(plan.data[run.dataset], split) or 0.0
        for run in plan.trainings
        for split in plan.data[run.dataset].dataset.splits
        if split.startswith("test")
    ]


def _files(name: str, paths: list[str], jets: float | None = None) -> Stage:
    return Stage(name, len(paths), _there(paths), jets)


def _there(paths: Iterable[str]) -> int:
    return sum(Path(path).exists() for path in paths)


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
