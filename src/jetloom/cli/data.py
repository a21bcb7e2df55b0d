"""Verbs that make tensors out of files: simulate, download, skim, tensors; and what data sets there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jetloom.cli.app import Files, Set, app, datasets, simulate, tensors

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
) -> None:
    """JetClass-like jets: Pythia 8 collisions, a parametric detector, anti-kT R = 0.8 jets, as ROOT files.

    Parameters
    ----------
    jets
        Jets per class.
    seed
        Same seed, same jets.
    output
        Directory of the files <PROCESS>_<NUMBER>.root.
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
    """
    from jetloom.data.simulate.jetclass import simulate_set

    simulate_set(class_, jets, seed, output, number=number, detector=detector, mpi=mpi, processes=processes)


@simulate.command(name="shapes-sim")
def simulate_shapes(
    *,
    meshes: int = 40,
    seed: int = 1,
    output: Path,
    class_: Annotated[tuple[str, ...], Parameter(name="--class", negative="")] = (),
    split: Annotated[tuple[str, ...], Parameter(negative="")] = ("train", "val", "test"),
) -> None:
    """Furniture meshes in the layout of ModelNet10: <class>/<split>/<class>_0001.off.

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
    """
    from jetloom.data.simulate.shapes import simulate_set

    simulate_set(class_, split, meshes, seed, output)


@app.command
def download(
    dataset: str,
    *,
    output: Path,
    name: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    mirror: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    checksums: Path | None = None,
    jobs: int = 4,
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
    """
    from jetloom.data.download import download as run

    run(_dataset(dataset, set_), output, names=name or None, checksums=checksums, mirrors=mirror, jobs=jobs)


@app.command
def skim(raw: Path, output: Path, *, dataset: str, set_: Set = ()) -> None:
    """Select jets of one raw file and write them, canonical and jagged, as one Parquet file.

    Parameters
    ----------
    raw
        Raw file of the publisher (for meshes: the directory of one class and split).
    output
        Parquet file to write.
    dataset
        Data-set preset (`jetloom datasets` lists them).
    """
    from jetloom.data.skim import skim as run

    run(dataset, _dataset(dataset, set_), raw, output)


@tensors.command(name="shard")
def tensors_shard(
    skims: Files,
    *,
    dataset: str,
    split: str,
    shard: int = 0,
    output: Path,
    set_: Set = (),
) -> None:
    """One shard of a split: slice SHARD of every skim file, mixed, in length buckets.

    Parameters
    ----------
    skims
        All Parquet files of the split, in the same order for every shard.
    dataset
        Data-set preset.
    split
        Name of the split.
    shard
        Number of this shard, from 0; the preset's `shards` (--set shards.train=8) says how many there are.
    output
        Safetensors file to write.
    """
    from jetloom.data.tensors import write_shard

    write_shard(dataset, _dataset(dataset, set_), split, shard, skims, output)


@tensors.command(name="manifest")
def tensors_manifest(shards: Files, *, dataset: str, output: Path, set_: Set = ()) -> None:
    """Check the shards of all splits and describe them in one JSON file.

    Parameters
    ----------
    shards
        All shards of all splits; each knows its split and number.
    dataset
        Data-set preset.
    output
        manifest.json to write, in the directory of the shards or above it.
    """
    from jetloom.data.tensors import write_manifest

    write_manifest(dataset, _dataset(dataset, set_), shards, output)


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
    from jetloom.listing import show_dataset, show_datasets

    show_datasets(data) if name is None else show_dataset(name)


@datasets.command
def cite(name: str) -> None:
    """Print the BibTeX entries of a data set."""
    from jetloom.listing import show_citation

    show_citation(name)


@datasets.command(name="plot")
def plot_dataset(
    name: str, skims: Files | None = None, *, data: Path = Path("data"), output: Path | None = None
) -> None:
    """Draw the main distributions of each class from skims: multiplicity, jet mass, pT, deltaR.

    Parameters
    ----------
    name
        Data-set preset.
    skims
        Parquet files; default: all that the workflow has made.
    data
        `data_directory` of the workflow.
    output
        Path without suffix; .pdf, .png and .csv are written; default: NAME.
    """
    from jetloom.report.distributions import plot

    found = skims or sorted((data / name / "skim").rglob("*.parquet"))
    plot(_dataset(name, ()).title, found, output or Path(name))


def _dataset(name: str, assignments: tuple[str, ...]) -> "Dataset":
    from jetloom.config import parse_assignments, resolve_dataset

    return resolve_dataset(name, parse_assignments(assignments), name)
