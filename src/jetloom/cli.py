"""The command line: one verb per stage, thin. Verbs import their stage when they run, so that --help is instant."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from jetloom import __version__
from jetloom.errors import JetloomError

app = App(
    name="jetloom",
    version=__version__,
    help="Train and compare jet taggers. The workflow (`snakemake --profile profiles/local`) calls these verbs; "
    "each one also works by hand.",
)
simulate = app.command(App(name="simulate", help="Make a simulated data set in its publisher's own format."))
tensors = app.command(App(name="tensors", help="Turn skims into shards ready to train on."))
datasets = app.command(App(name="datasets", help="What the data sets are, and what of them is here."))
mlflow = app.command(App(name="mlflow", help="The MLflow store of the trainings."))

Set = Annotated[
    tuple[str, ...], Parameter(name="--set", help="KEY=VALUE over the preset, repeatable; values are YAML", negative="")
]
Option = Annotated[
    tuple[str, ...], Parameter(name="--option", help="KEY=VALUE of the architecture, repeatable", negative="")
]
Files = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``jetloom``: a user's mistake is one line on stderr and status 1."""
    try:
        app(arguments)
    except JetloomError as error:
        sys.exit(f"jetloom: {error}")
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        sys.exit(f"jetloom: {error.strerror}: {error.filename or 'output'}")


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


@app.command
def train(
    manifest: Path,
    *,
    model: str,
    output: Path,
    scratch: Path,
    preset: str | None = None,
    option: Option = (),
    set_: Set = (),
    seed: int = 1,
    experiment: str = "by-hand",
    dataset: str | None = None,
    name: str | None = None,
    title: str | None = None,
    store: Path | None = None,
    threads: int | None = None,
) -> None:
    """Train one architecture on prepared tensors; a killed training goes on when the command is given again.

    Parameters
    ----------
    manifest
        manifest.json of the tensors.
    model
        Architecture (`jetloom models` lists them).
    output
        Directory for best.ckpt, history.csv and training.json, written when the training has ended.
    scratch
        Directory for the checkpoints of the running training; removed at the end.
    preset
        Named size and recipe of the architecture.
    seed
        Seeds weights, order of the jets and dropout.
    experiment
        Experiment in MLflow and in the report.
    dataset
        Name of the data set in the report; default: the manifest's.
    name
        Name of the model in the report, if it is a variant of the architecture.
    title
        Name of the model in tables and figures.
    store
        File written by `jetloom mlflow init`; without it nothing is tracked.
    threads
        CPU threads.
    """
    from jetloom.config import merge, parse_assignments, resolve_training
    from jetloom.data.manifest import Manifest
    from jetloom.presets import model_card
    from jetloom.training.train import train as run

    card = model_card(model)
    if preset is not None and preset not in card.presets:
        raise JetloomError(f"{model} has no preset {preset!r}; allowed: {', '.join(card.presets)}")
    recipe = card.presets[preset].training if preset else {}
    identity = {
        "experiment": experiment,
        "dataset": dataset or Manifest.read(manifest).dataset,
        "model": name or model,
        "seed": seed,
        "title": title or card.title,
    }
    run(
        manifest,
        output,
        model=model,
        preset=preset,
        options=parse_assignments(option),
        training=resolve_training(merge(recipe, parse_assignments(set_))),
        seed=seed,
        run=identity,
        scratch=scratch,
        store=store,
        threads=threads,
    )


@app.command
def evaluate(
    checkpoint: Path,
    manifest: Path,
    *,
    training: Path | None = None,
    output: Path,
    split: str = "test",
    set_: Set = (),
    threads: int | None = None,
) -> None:
    """Score a split with a trained model: metrics.json with intervals and predictions.parquet.

    Parameters
    ----------
    checkpoint
        best.ckpt of a training.
    manifest
        manifest.json of the tensors.
    training
        training.json of the same training; the figures go into its MLflow run.
    output
        Directory of the two files.
    split
        Split to score.
    threads
        CPU threads.
    """
    from jetloom.config import Evaluation, parse_assignments, validate
    from jetloom.evaluation.evaluate import evaluate as run

    settings = validate(Evaluation, parse_assignments(set_), "evaluation")
    run(checkpoint, manifest, output, split=split, settings=settings, training=training, threads=threads)


@app.command
def predict(
    *,
    checkpoint: Path,
    input_: Annotated[Path, Parameter(name="--input")],
    output: Path,
    dataset: str | None = None,
    model: str | None = None,
    preset: str | None = None,
    feature_set: Literal["kin", "kinpid", "full", "xyz"] | None = None,
    batch_size: int = 512,
    threads: int | None = None,
) -> None:
    """Apply a trained or published model to any file of a known data format.

    Parameters
    ----------
    checkpoint
        best.ckpt of a training, or a published .pt file.
    input_
        Raw file of a publisher (for meshes the directory of one class and split).
    output
        Parquet file of the scores.
    dataset
        Preset that says how the file is read; default: the data set of the training.
    model
        Architecture of a published file.
    preset
        Named size of a published file.
    feature_set
        Inputs of a published file; default: those of the data set.
    batch_size
        Jets scored at once.
    threads
        CPU threads.
    """
    from jetloom.evaluation.predict import predict as run

    run(
        checkpoint,
        input_,
        output,
        dataset=dataset,
        model=model,
        preset=preset,
        feature_set=feature_set,
        batch_size=batch_size,
        threads=threads,
    )


@app.command
def cost(
    manifest: Path,
    *,
    model: str,
    output: Path,
    preset: str | None = None,
    option: Option = (),
    set_: Set = (),
    dataset: str | None = None,
    name: str | None = None,
    title: str | None = None,
    threads: int | None = None,
) -> None:
    """Measure what an architecture costs on this machine: parameters, FLOPs, latency, throughput, peak memory.

    Parameters
    ----------
    manifest
        manifest.json of the tensors it is meant for.
    model
        Architecture.
    output
        cost.json to write.
    preset
        Named size of the architecture.
    dataset
        Name of the data set in the report.
    name
        Name of the model in the report.
    title
        Name of the model in tables and figures.
    threads
        CPU threads.
    """
    from jetloom.config import Cost, parse_assignments, validate
    from jetloom.data.manifest import Manifest
    from jetloom.evaluation.cost import cost as run
    from jetloom.presets import model_card

    identity = {
        "dataset": dataset or Manifest.read(manifest).dataset,
        "model": name or model,
        "title": title or model_card(model).title,
    }
    settings = validate(Cost, parse_assignments(set_), "cost")
    options = parse_assignments(option)
    run(model, preset, options, manifest, output, settings=settings, run=identity, threads=threads)


@app.command
def report(
    *,
    metrics: Files,
    training: Files,
    predictions: Files,
    histories: Files,
    costs: Files,
    manifests: Files,
    output: Path,
    title: str = "Jet taggers compared",
    config: Path | None = None,
) -> None:
    """Write the page with its tables and figures from stored results; trains nothing, reads no MLflow.

    Parameters
    ----------
    metrics
        metrics.json of all trainings.
    training
        training.json of the same trainings.
    predictions
        predictions.parquet of the same trainings.
    histories
        history.csv of the same trainings.
    costs
        cost.json of the models.
    manifests
        manifest.json of the data sets.
    output
        Directory for index.html, figures/ and tables/.
    title
        Headline.
    config
        Configuration to print at the end of the page.
    """
    from jetloom.report.build import report as run

    run(metrics, training, predictions, histories, costs, manifests, output, title=title, config=config)


@app.command
def figure(
    name: str,
    *,
    metrics: Files,
    training: Files,
    predictions: Files,
    histories: Files,
    costs: Files,
    manifests: Files,
    output: Path,
) -> None:
    """Draw one figure again from stored results: PDF, PNG and the numbers behind it as CSV.

    Parameters
    ----------
    name
        Figure, for example roc (a wrong name lists them all).
    metrics
        metrics.json of all trainings.
    training
        training.json of the same trainings.
    predictions
        predictions.parquet of the same trainings.
    histories
        history.csv of the same trainings.
    costs
        cost.json of the models.
    manifests
        manifest.json of the data sets.
    output
        Directory of the figures; the others in it stay.
    """
    from jetloom.report.build import figure as run

    run(name, metrics, training, predictions, histories, costs, manifests, output)


@mlflow.command(name="init")
def mlflow_init(experiments: list[str], *, uri: str | None = None, directory: Path, output: Path) -> None:
    """Create the store and its experiments once, before several trainings write to it.

    Parameters
    ----------
    experiments
        Names of MLflow experiments.
    uri
        Tracking server; default: MLFLOW_TRACKING_URI, else a SQLite file in DIRECTORY.
    directory
        Directory of the default store and of its artifacts.
    output
        JSON file with the URI and the ids, for `jetloom train --store`.
    """
    from jetloom.training.store import prepare

    prepare(uri, experiments, directory, output)


@mlflow.command(name="log")
def mlflow_log(*, metrics: Files, costs: Files, figures: Path | None = None, output: Path) -> None:
    """Put figures of merit, cost, predictions and figures into the runs of the trainings.

    Parameters
    ----------
    metrics
        metrics.json of evaluations, predictions.parquet beside each.
    costs
        cost.json of the models.
    figures
        Directory of the report's figures.
    output
        JSON file that lists which runs took them.
    """
    from jetloom.evaluation.track import track

    track(metrics, costs, figures, output)


@mlflow.command(name="ui")
def mlflow_ui(*, uri: str | None = None, directory: Path = Path("results"), port: int = 5000) -> None:
    """Open the MLflow UI on the right store.

    Parameters
    ----------
    uri
        Tracking server; default: MLFLOW_TRACKING_URI, else the SQLite file in DIRECTORY.
    directory
        Directory of the default store.
    port
        Port on this machine.
    """
    from jetloom.training.store import ui

    ui(uri, directory, port)


@app.command(name="models")
def list_models(name: str | None = None) -> None:
    """List the architectures; with a NAME, its presets and options with their defaults."""
    from jetloom.listing import show_model, show_models

    show_models() if name is None else show_model(name)


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


def _dataset(name: str, assignments: tuple[str, ...]) -> Any:
    from jetloom.config import parse_assignments, resolve_dataset

    return resolve_dataset(name, parse_assignments(assignments), name)


if __name__ == "__main__":
    main()
