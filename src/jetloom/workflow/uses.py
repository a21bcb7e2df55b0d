"""What results need of the data: by the digest that each carries, and by what its frozen configuration plans."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from jetloom.catalogue import cards
from jetloom.config import read_experiment
from jetloom.errors import JetloomError
from jetloom.workflow.derived import DerivedPlan
from jetloom.workflow.plan import Plan

Users = dict[str, set[str]]
"""Names of experiments, by what they use."""


@dataclass
class Uses:
    """What the results use. Paths are relative to ``data_directory``: keys of directories do not depend on its place.

    Attributes:
        experiments: directories of the results.
        digests: experiments by the digest of the manifest that a training or an evaluation was made from.
        places: experiments by directory (``jetclass/tensors-0123456789``) that a frozen configuration plans.
        skims: experiments by skim that a frozen configuration plans.
        derived: names of the directories of derived data that a frozen configuration plans, by the directory of its
            experiment; an experiment that is missing plans nobody knows what.
        families: experiments by data set of which they may use anything, since it is not known what they use.
        all: experiments that may use anything of any data set.
        unclear: why, a line each.
    """

    experiments: list[Path] = field(default_factory=list)
    digests: Users = field(default_factory=lambda: defaultdict(set))
    places: Users = field(default_factory=lambda: defaultdict(set))
    skims: Users = field(default_factory=lambda: defaultdict(set))
    derived: dict[Path, set[str]] = field(default_factory=dict)
    families: Users = field(default_factory=lambda: defaultdict(set))
    all: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)

    def of_family(self, family: str) -> set[str]:
        """Experiments that may use anything of a data set."""
        return self.all | self.families.get(family, set())


def uses(results: Sequence[Path]) -> Uses:
    """Read what the experiments below some directories use; one of the directories may be an experiment itself.

    Args:
        results: ``results_directory`` of configurations, or directories of experiments.
    """
    found = Uses()
    for directory in (place for root in results for place in [root, *sorted(root.iterdir())] if place.is_dir()):
        config = directory / "config.yaml"
        facts = [path for where in ("", "*/*/seed*/") for path in _facts(directory, where)]
        facts += sorted(directory.glob("*/closeness.json"))
        if not facts and not config.is_file():
            continue
        found.experiments.append(directory)
        for path in facts:
            _add_facts(found, directory.resolve().name, path)
        if config.is_file():
            _add_plan(found, directory, config)
    return found


def _facts(directory: Path, where: str) -> Iterable[Path]:
    return sorted(path for name in ("training", "metrics") for path in directory.glob(f"{where}{name}.json"))


def _add_facts(found: Uses, name: str, path: Path) -> None:
    try:
        found.digests[json.loads(path.read_text())["data_digest"]].add(name)
    except (OSError, ValueError, KeyError, TypeError):
        found.all.add(name)
        found.unclear.append(f"{path}: does not say what it was made from; nothing of any data set is removed")


def _add_plan(found: Uses, directory: Path, config: Path) -> None:
    name = directory.resolve().name
    try:
        # Everything is planned before anything counts: a plan may fail at its last data set.
        plan = Plan(read_experiment(config))
        derived = [place for item in plan.data.values() if isinstance(item, DerivedPlan) for place in item.places()]
        plans = [item for item in plan.data.values() if not isinstance(item, DerivedPlan)]
        places = [place for item in plans for place in item.places()]
        places += [str(Path(raw.path)) for item in plans for raw in item.raw.values()]
        skims = [path for item in plans for split in item.dataset.splits for path in item.skims(split)]
    except (JetloomError, OSError) as error:
        families = _families(config)
        for family in families or []:
            found.families[family].add(name)
        found.all |= set() if families else {name}
        kept = " and ".join(families) if families else "any data set"
        found.unclear.append(f"{config}: cannot be planned any more ({error}); nothing of {kept} is removed")
        return
    found.derived[directory] = {Path(place).name for place in derived}
    root = plan.experiment.data_directory
    for path in places:
        found.places["/".join(os.path.relpath(path, root).split(os.sep)[:2])].add(name)
    for path in skims:
        found.skims[os.path.relpath(path, root)].add(name)


def _families(config: Path) -> list[str] | None:
    """Data sets of a configuration that has mistakes, as directories of the data; None: it does not say."""
    try:
        values: Any = yaml.safe_load(config.read_text())
        changes = values.get("per_dataset") or {}
        told = {name: changes.get(name) or {} for name in values["datasets"]}
        # What trainings make lies among the results.
        names = [changed.get("based_on") or name for name, changed in told.items() if "made_by" not in changed]
        return sorted({cards.family(name) for name in names}) or None
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
