"""What ``jetloom models`` and ``jetloom datasets`` print."""

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from jetloom import presets
from jetloom.config import Dataset, resolve_dataset
from jetloom.options import options

WIDTH_OF_FEATURES = {"kin": 7, "kinpid": 13, "full": 17, "xyz": 3}


def show_models() -> None:
    """One row for each architecture: size and cost as published, paper, presets."""
    # Counting needs the models themselves.
    from jetloom.evaluation.cost import describe

    table = Table("model", "is", "parameters", "MACs (50 particles)", "ordered", "inputs", "presets", "paper")
    for name in presets.names("models"):
        card = presets.model_card(name)
        size = describe(name)
        table.add_row(
            name,
            card.title,
            f"{size.parameters:,}",
            f"{size.macs:,}",
            "yes" if size.ordered else "no",
            ", ".join(card.inputs),
            ", ".join(card.presets),
            card.paper,
        )
    Console().print(table)


def show_model(name: str) -> None:
    """Options with defaults, and what each preset changes.

    Raises:
        JetloomError: there is no such model.
    """
    card = presets.model_card(name)
    console = Console()
    console.print(f"[bold]{card.title}[/bold]  {card.paper}\nclass {card.class_path}\n")
    table = Table("option", "type", "default", *card.presets)
    for key, option in options(name).items():
        changes = [str(preset.options.get(key, "")) for preset in card.presets.values()]
        table.add_row(key, option.spelling, str(option.default), *changes)
    console.print(table)
    recipes = Table("recipe", *card.presets)
    for key in dict.fromkeys(key for preset in card.presets.values() for key in preset.training):
        recipes.add_row(key, *(str(preset.training.get(key, "")) for preset in card.presets.values()))
    console.print(recipes)


def show_datasets(data: Path) -> None:
    """One row for each data set.

    Args:
        data: the workflow's data directory, to see what is there.
    """
    table = Table("data set", "is", "kind", "classes", "download", "raw files here", "licence", "home page")
    for name in presets.names("datasets"):
        dataset = resolve_dataset(name, {}, name)
        kind = f"{dataset.kind}, simulated by jetloom" if dataset.simulated else dataset.kind
        table.add_row(
            name,
            dataset.title,
            kind,
            str(len(dataset.classes)),
            dataset.size or "none",
            _on_disk(dataset, data / name / "raw"),
            dataset.licence,
            dataset.homepage,
        )
    Console().print(table)


def _on_disk(dataset: Dataset, raw: Path) -> str:
    names = {name for split in dataset.splits for name in dataset.raw_files(split)}
    here = [raw / name for name in names if (raw / name).exists()]
    files = [file for path in here for file in ([path] if path.is_file() else path.iterdir())]
    size = sum(file.stat().st_size for file in files)
    return f"{len(here)} of {len(names)}" + (f", {decimal(size)}" if here else "")


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
