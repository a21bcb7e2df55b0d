"""Verbs that make tensors out of files: simulate, download, skim, tensors; and what data sets there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jetloom.cli.app import Files, Of, Set, app, datasets, simulate, tensors
from jetloom.system.importing import importing

if TYPE_CHECKING:
    from jetloom.config import Dataset


@simulate.command(name="jetclass-sim")
def simulate_jetclass(
    *,
    jets: int = 1000,
    seed: int = 1,
    output: Path,
    class_: Annotated[tuple[str, ...], Parameter(name="--class", negative="")] = (),
    number: int = 0,
    detector: Literal["jetclass", "ideal"] = "jetclass",
    mpi: bool = True,
    processes: int | None = None,
    about: Of = None,
) -> None:
    """JetClass-like jets: Pythia 8 collisions, a parametric detector, anti-kT R = 0.8 jets, as ROOT files.

    Parameters
    ----------
    jets
        Jets per class.
    seed
        Same seed, same jets.
    output
        Directory of the files PROCESS_NUMBER.root.
    class_
        Class to simulate (repeatable); default: all ten.
    number
        Number in the file name; files of different number hold independent jets.
    detector
        jetclass: the detector card of JetClass; ideal: tracks keep their momentum.
    mpi
        Multiparton interactions; without them three times faster and less real.
    processes
        Simulating processes; default: one per core.
    about
        about.json of a directory of the workflow, whose settings count instead of those given here.
    """
    from jetloom.data.prepare.about import settings

    with importing():
        from jetloom.data.simulate.jetclass import simulate_set

    chosen = {"jets": jets, "seed": seed, "detector": detector, "mpi": mpi} | settings(about)
    simulate_set(class_, output_directory=output, number=number, processes=processes, **chosen)


@simulate.command(name="shapes-sim")
def simulate_shapes(
    *,
    meshes: int = 40,
    seed: int = 1,
    output: Path,
    class_: Annotated[tuple[str, ...], Parameter(name="--class", negative="")] = (),
    split: Annotated[tuple[str, ...], Parameter(negative="")] = ("train", "val", "test"),
    about: Of = None,
) -> None:
    """Furniture meshes in the layout of ModelNet10: CLASS/SPLIT/CLASS_0001.off.

    Parameters
    ----------
    meshes
        Meshes per class and split.
    seed
        Same seed, same meshes.
    output
        Directory of the classes.
    class_
        Class to make (repeatable); default: all ten.
    split
        Split to make (repeatable).
    about
        about.json of a directory of the workflow, whose settings count instead of those given here.
    """
    from jetloom.data.prepare.about import settings

    with importing():
        from jetloom.data.simulate.shapes import simulate_set

    chosen = {"jets": meshes, "seed": seed} | settings(about)
    simulate_set(class_, split, chosen["jets"], chosen["seed"], output)


@app.command
def download(
    dataset: str,
    *,
    output: Path,
    name: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    mirror: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    checksums: Path | None = None,
    jobs: int = 4,
    config: Path | None = None,
    file: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    record: Path | None = None,
    set_: Set = (),
) -> None:
    """Fetch the raw files of a public data set, verified; a broken download goes on when the command is given again.

    Parameters
    ----------
    dataset
        Data-set preset (`jetloom datasets` lists them).
    output
        Directory of the raw files.
    name
        Raw file to fetch (repeatable); default: all of all splits.
    mirror
        Asked before the publisher (repeatable): URL, file:// or directory, whose files are linked and not copied.
    checksums
        JSON file of checksums learnt where none are published; default: checksums.json in OUTPUT.
    jobs
        Files at once.
    config
        Configuration of an experiment, whose mirrors of OUTPUT are asked as well.
    file
        Published file whose raw files to fetch (repeatable); default: all.
    record
        Fetch and unpack FILE out of sight, beside others that are fetched at the same time, and then write this text
        file with the raw files that it held. They get their names when the verb is given again without RECORD.
    """
    from jetloom.data.fetch.download import download as run
    from jetloom.data.fetch.download import fetch
    from jetloom.errors import JetloomError

    if (name and file) or (record and len(file) != 1):
        raise JetloomError("download: --name or --file, and with --record one --file")
    mirrors = [*mirror, *(_mirrors(config, output) if config else [])]
    chosen = _dataset(dataset, set_)
    if record:
        fetch(chosen, output, file[0], record=record, checksums=checksums, mirrors=mirrors)
        return
    run(chosen, output, names=name or None, files=file or None, checksums=checksums, mirrors=mirrors, jobs=jobs)


@app.command
def skim(raw: Path, output: Path, *, dataset: str, about: Of = None, set_: Set = ()) -> None:
    """Select jets of one raw file and write them, canonical and jagged, as one Parquet file.

    Parameters
    ----------
    raw
        Raw file of the publisher (for meshes: the directory of one class and split).
    output
        Parquet file to write.
    dataset
        Data-set preset (`jetloom datasets` lists them).
    about
        about.json of a directory of the workflow, whose settings are laid over the preset.
    """
    with importing():
        from jetloom.data.prepare.skim import skim as run

    run(dataset, _dataset(dataset, set_, about), raw, output)


@tensors.command(name="list")
def tensors_list(skims: Files, *, output: Path) -> None:
    """List the skims of a split with digests of their content, for `tensors shard --list`.

    Parameters
    ----------
    skims
        All Parquet files of the split.
    output
        JSON file to write.
    """
    with importing():
        from jetloom.data.prepare.skimlist import write

    write(skims, output)


@tensors.command(name="shard")
def tensors_shard(
    skims: Files | None = None,
    *,
    dataset: str | None = None,
    split: str,
    shard: int = 0,
    output: Path,
    list_: Annotated[Path | None, Parameter(name="--list")] = None,
    about: Of = None,
    set_: Set = (),
) -> None:
    """One shard of a split: slice SHARD of every skim file, mixed, in length buckets.

    Parameters
    ----------
    skims
        All Parquet files of the split, in the same order for every shard.
    dataset
        Data-set preset; default: the one that ABOUT names.
    split
        Name of the split.
    shard
        Number of this shard, from 0; the preset's `shards` (--set shards.train=8) says how many there are.
    output
        Safetensors file to write.
    list_
        File of `tensors list` instead of SKIMS; a skim whose content is not the listed one is refused.
    about
        about.json of a directory of the workflow, whose settings are laid over the preset.
    """
    with importing():
        from jetloom.data.prepare import skimlist
        from jetloom.data.prepare.tensors import write_shard

    name, settings = _named(dataset, set_, about)
    write_shard(name, settings, split, shard, skimlist.read(list_) if list_ else skims or [], output)


@tensors.command(name="manifest")
def tensors_manifest(
    shards: Files, *, dataset: str | None = None, output: Path, about: Of = None, set_: Set = ()
) -> None:
    """Check the shards of all splits and describe them in one JSON file.

    Parameters
    ----------
    shards
        All shards of all splits; each knows its split and number.
    dataset
        Data-set preset; default: the one that ABOUT names.
    output
        manifest.json to write, in the directory of the shards or above it.
    about
        about.json of a directory of the workflow, whose settings are laid over the preset.
    """
    with importing():
        from jetloom.data.prepare.tensors import write_manifest

    name, settings = _named(dataset, set_, about)
    write_manifest(name, settings, shards, output)


@datasets.default
def list_datasets(name: str | None = None, *, data: Path = Path("data")) -> None:
    """List the data sets and what of them is on disk; with a NAME, its splits, selection, files and citation.

    Parameters
    ----------
    name
        Data-set preset.
    data
        `data_directory` of the workflow.
    """
    from jetloom.cli.listing import show_dataset, show_datasets

    show_datasets(data) if name is None else show_dataset(name)


@datasets.command
def cite(name: str) -> None:
    """Print the BibTeX entries of a data set."""
    from jetloom.cli.listing import show_citation

    show_citation(name)


@datasets.command(name="plot")
def plot_dataset(
    name: str, skims: Files | None = None, *, config: Path = Path("config.yaml"), output: Path | None = None
) -> None:
    """Draw the main distributions of each class from skims: multiplicity, jet mass, pT, deltaR.

    Parameters
    ----------
    name
        Data set of the configuration, or preset if SKIMS are given.
    skims
        Parquet files; default: those that the workflow has made for CONFIG.
    config
        Configuration of an experiment.
    output
        Path without suffix; .pdf, .png and .csv are written; default: NAME.
    """
    from jetloom.report.distributions import plot

    if skims:
        plot(_dataset(name, ()).title, skims, output or Path(name))
        return
    from jetloom.config import read_experiment
    from jetloom.errors import JetloomError
    from jetloom.workflow.plan import Plan

    plans = Plan(read_experiment(config)).data
    if name not in plans:
        raise JetloomError(f"{config}: no data set {name!r}; allowed: {', '.join(plans)}")
    planned = [Path(plans[name].skim(raw)) for raw in plans[name].raw]
    # Some are no picture of the data set: the first that is missing is named then.
    found = planned if any(path.exists() for path in planned) else []
    plot(plans[name].dataset.title, found, output or Path(name))


def _mirrors(config: Path, output: Path) -> list[str]:
    """Where an experiment gets the raw files of a directory, before the publisher."""
    from jetloom.config import read_experiment
    from jetloom.workflow.plan import Plan

    downloads = Plan(read_experiment(config)).downloads
    return [mirror for fetch in downloads if Path(fetch.directory) == output for mirror in fetch.mirrors]


def _dataset(name: str, assignments: tuple[str, ...], about: Path | None = None) -> "Dataset":
    from jetloom.config import merge, parse_assignments, resolve_dataset, stored_dataset
    from jetloom.data.prepare.about import settings

    changes = merge(settings(about), parse_assignments(assignments))
    # A catalogue knows no data set that trainings made.
    return stored_dataset(name, changes) if "derived" in changes else resolve_dataset(name, changes, name)


def _named(name: str | None, assignments: tuple[str, ...], about: Path | None) -> tuple[str, "Dataset"]:
    """The preset and its settings, either of which a file of the workflow may give."""
    from jetloom.data.prepare.about import preset
    from jetloom.errors import JetloomError

    chosen = name or preset(about)
    if chosen is None:
        raise JetloomError("--dataset: missing; give a preset, or the about.json of a directory of tensors")
    return chosen, _dataset(chosen, assignments, about)
