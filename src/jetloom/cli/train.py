"""The verb that trains."""

from pathlib import Path

from jetloom.cli.app import Option, Set, app
from jetloom.errors import JetloomError


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
