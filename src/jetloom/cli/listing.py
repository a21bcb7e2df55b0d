"""What ``jetloom models``, ``jetloom tasks``, ``jetloom datasets`` and ``jetloom data`` print."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from jetloom.catalogue import cards
from jetloom.catalogue.options import options
from jetloom.catalogue.signatures import signature
from jetloom.config import Dataset, resolve_dataset
from jetloom.workflow.forecast import Stage
from jetloom.workflow.plan import Plan
from jetloom.workflow.store import Place


def _console() -> Console:
    # A file or a pipe has no width: names must stay whole for grep.
    return Console(width=None if sys.stdout.isatty() else 200)


def _table(whole: list[str], folded: list[str]) -> Table:
    table = Table(box=box.SIMPLE)
    for column in whole:
        table.add_column(column, no_wrap=True)
    for column in folded:
        table.add_column(column, overflow="fold")
    return table


def show_models() -> None:
    """One row for each architecture: size and cost as published, whether it is ordered, inputs, paper."""
    # Counting needs the models themselves.
    from jetloom.evaluation.cost import describe

    table = _table(["model", "parameters", "MACs at 50 particles", "ordered", "inputs"], ["paper"])
    for name in cards.names("models"):
        card = cards.model_card(name)
        size = describe(name)
        table.add_row(
            name,
            f"{size.parameters:,}",
            f"{size.macs:,}",
            "yes" if size.ordered else "no",
            ", ".join(card.inputs),
            card.paper,
        )
    _console().print(table)
    print("Sizes with 17 features and 10 classes (points: 3 features). Options and presets of one: jetloom models NAME")


def show_model(name: str) -> None:
    """Options with defaults, and what each preset changes.

    Raises:
        JetloomError: there is no such model.
    """
    card = cards.model_card(name)
    print(f"{card.title}: {card.paper}\n{card.class_path}")
    table = _table(["option", "default"], ["allowed"])
    for key, option in options(name).items():
        table.add_row(key, str(option.default), escape(option.spelling))
    _console().print(table)
    for key, preset in card.presets.items():
        print(f"preset {key}" + (f" ({preset.source})" if preset.source else ""))
        print(f"  options   {_assignments(preset.options)}\n  training  {_assignments(preset.training)}")


def _assignments(changes: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in changes.items()) or "the defaults"


def show_tasks() -> None:
    """One row for each task: its options, and what can choose the best epoch."""
    table = _table(["task", "options"], ["monitors", "evaluated"])
    for name in cards.names("tasks"):
        card = cards.task_card(name)
        arguments = signature(card.class_path)
        words = [key if argument.default is ... else f"{key}={argument.default}" for key, argument in arguments.items()]
        monitors = ", ".join(f"{key} ({direction})" for key, direction in card.monitors.items())
        table.add_row(name, " ".join(words) or "none", monitors, "yes" if card.measures else "no")
    _console().print(table)
    print("In config.yaml: `task: {NAME: {option: value}}`; several in a list are learnt together, the main one first")


def show_datasets(data: Path) -> None:
    """One row for each data set.

    Args:
        data: the workflow's data directory, to see what is there.
    """
    table = _table(["data set", "kind", "classes", "raw files here"], ["download", "licence", "is"])
    for name in cards.names("datasets"):
        dataset = resolve_dataset(name, {}, name)
        kind = f"{dataset.kind}, simulated" if dataset.simulated else dataset.kind
        table.add_row(
            name,
            kind,
            str(len(dataset.classes)),
            _on_disk(dataset, data / cards.family(name)),
            dataset.size or "none",
            dataset.licence,
            f"{dataset.title} {dataset.homepage}",
        )
    _console().print(table)
    print("Splits, selection, files and citation of one: jetloom datasets NAME")


def _on_disk(dataset: Dataset, home: Path) -> str:
    # Simulated files lie in a directory for each way to simulate them; any of them will do here.
    directories: Iterable[Path] = home.glob("raw-*") if dataset.simulation else [home / "raw"]
    names = {name for split in dataset.splits for name in dataset.raw_files(split)}
    here = [(name, raw / name) for raw in directories for name in names if (raw / name).exists()]
    files = [file for _, path in here for file in ([path] if path.is_file() else path.iterdir())]
    size = sum(file.stat().st_size for file in files)
    return f"{len({name for name, _ in here})} of {len(names)}" + (f", {decimal(size)}" if here else "")


def show_places(places: Sequence[Place]) -> None:
    """One row for each directory of data: what it is, number of files, size, and which results use it."""
    table = _table(["directory", "files", "size"], ["is", "used by"])
    for place in places:
        files, size = place.extent
        used_by = ", ".join(sorted(place.users)) or ("no result" if place.removable else "")
        table.add_row(escape(str(place.path)), f"{files:,}", decimal(size), escape(place.what), escape(used_by))
    _console().print(table)
    print(f"{summed(places)} in all")


def summed(places: Sequence[Place]) -> str:
    """Files and bytes of some directories, in words."""
    return f"{sum(place.extent[0] for place in places):,} files, {decimal(sum(place.extent[1] for place in places))}"


def show_citation(name: str) -> None:
    """The BibTeX entries of a data set, as they are.

    Raises:
        JetloomError: there is no such data set.
    """
    print(resolve_dataset(name, {}, name).citation.strip())


def show_dataset(name: str) -> None:
    """Everything that the preset of a data set says.

    Raises:
        JetloomError: there is no such data set.
    """
    dataset = resolve_dataset(name, {}, name)
    console = Console()
    console.print(f"[bold]{dataset.title}[/bold]  {dataset.homepage}\n")
    table = Table("key", "value")
    for key, value in dataset.model_dump(exclude={"title", "homepage", "citation", "files"}).items():
        table.add_row(key, str(value))
    console.print(table)
    if dataset.files:
        files = Table("file", "bytes", "checksum")
        for file in dataset.files:
            known = f"sha256 {file.sha256}" if file.sha256 else f"md5 {file.md5}" if file.md5 else "learnt when fetched"
            files.add_row(file.name, f"{file.size:,}" if file.size else "?", known)
        console.print(files)
    console.print(dataset.citation)


def show_forecast(plan: Plan, stages: Sequence[Stage]) -> None:
    """One row for each stage of an experiment, and what they take together."""
    experiment = plan.experiment
    counts = {
        "training": len(experiment.runs),
        "network": len({run.model for run in experiment.runs}),
        "data set": len(plan.data),
    }
    words = [f"{number} {name}{'' if number == 1 else 's'}" for name, number in counts.items()]
    print(f"{experiment.experiment}: {words[0]} of {words[1]} on {words[2]}")
    table = Table(box=box.SIMPLE)
    table.add_column("stage", no_wrap=True)
    for column in ("jobs", "there", "jets", "disk", "core-hours"):
        table.add_column(column, no_wrap=True, justify="right")
    for stage in stages:
        table.add_row(
            stage.name,
            f"{stage.jobs:,}",
            f"{stage.there:,}" if stage.there else "",
            _about(stage.jets),
            stage.words or (decimal(int(stage.disk)) if stage.disk else ""),
            _hours(stage.hours),
        )
    _console().print(table)
    disk = sum(stage.disk or 0 for stage in stages)
    unknown = " and the downloads" if any(stage.words for stage in stages) else ""
    print(
        f"Disk: {decimal(int(disk))}{unknown}. Figures are for one core (docs/scale.md); an empty place is not known."
    )
    if any(stage.name == "train" and stage.hours is None for stage in stages):
        print("Hours of the trainings: jets / rate; --rate 40000 for 40,000 jets per second and training.")


def _about(jets: float | None) -> str:
    if not jets:
        return ""
    return next((f"{jets / unit:,.3g}{word}" for unit, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if jets >= unit),
                f"{jets:.0f}")  # fmt: skip


def _hours(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2f}"
