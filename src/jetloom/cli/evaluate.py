"""Verbs that use a trained model or measure one: evaluate, predict, export, cost."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from jetloom.cli.app import Option, Set, app
from jetloom.system.importing import importing


@app.command
def evaluate(
    checkpoint: Path,
    manifest: Path,
    *,
    training: Path | None = None,
    output: Path,
    config: Path | None = None,
    run: str | None = None,
    split: str = "test",
    truth: Path | None = None,
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
        Directory of the files.
    config
        Configuration of an experiment, whose settings count; with RUN.
    run
        Training of CONFIG, such as jetclass-sim/salt/seed1. It must have been trained on the tensors of MANIFEST.
    split
        Split to score.
    truth
        manifest.json of jets that those of MANIFEST, a mixture, should be like; they are scored too.
    set_
        KEY=VALUE of `evaluation`, `background=CLASS` or `working_points.CLASS=EFFICIENCY`, over the data set's preset.
    threads
        CPU threads.
    """
    from jetloom.cli.choice import configured, evaluation_by_hand, evaluation_of
    from jetloom.workflow.machines import place

    place(1, 1, threads)
    told = configured("evaluate", config, run, set=set_)
    chosen = evaluation_of(*told) if told else evaluation_by_hand(manifest, set_)
    with importing():
        from jetloom.evaluation.evaluate import evaluate as evaluate_

    evaluate_(
        checkpoint,
        manifest,
        output,
        split=split,
        **chosen._asdict(),
        training=training,
        truth=truth,
        same_data=config is not None,
        threads=threads,
    )


@app.command
def predict(
    *,
    checkpoint: Path,
    input_: Annotated[Path, Parameter(name="--input")],
    output: Path,
    dataset: str | None = None,
    model: str | None = None,
    preset: str | None = None,
    feature_set: str | None = None,
    batch_size: int = 512,
    precision: Literal["32", "tf32", "bf16", "16"] = "32",
    threads: int | None = None,
) -> None:
    """Apply a trained or published model to any file of a known data format.

    Parameters
    ----------
    checkpoint
        best.ckpt of a training, or a published .pt or .safetensors file.
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
    precision
        Of the network on a GPU, as training.precision.
    threads
        CPU threads.
    """
    with importing():
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
        precision=precision,
        threads=threads,
    )


@app.command
def cost(
    manifest: Path,
    *,
    model: str | None = None,
    output: Path,
    config: Path | None = None,
    run: str | None = None,
    preset: str | None = None,
    option: Option = (),
    set_: Set = (),
    dataset: str | None = None,
    name: str | None = None,
    title: str | None = None,
    same: Path | None = None,
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
    config
        Configuration of an experiment, whose settings count; with RUN.
    run
        Model of CONFIG, such as jetclass-sim/salt.
    preset
        Named size of the architecture.
    dataset
        Name of the data set in the report.
    name
        Name of the model in the report.
    title
        Name of the model in tables and figures.
    same
        cost.json of an equal network on the same tensors, whose figures are taken instead.
    threads
        CPU threads.
    """
    from jetloom.cli.choice import configured, cost_by_hand, cost_of
    from jetloom.errors import JetloomError
    from jetloom.workflow.machines import place

    by_hand = {"model": model, "preset": preset, "option": option, "set": set_}
    if told := configured("cost", config, run, **by_hand, dataset=dataset, name=name, title=title):
        chosen = cost_of(*told)
    elif model is None:
        raise JetloomError("cost: give --config and --run, or --model")
    else:
        chosen = cost_by_hand(manifest, model, preset, option, set_, dataset, name, title)
    if same:
        from jetloom.system.files import appearing, read_json

        content = read_json(same, missing="measure it first", damaged="delete it and measure again")
        with appearing(output) as partial:
            partial.write_text(json.dumps(content | {"run": chosen.run}, indent=1) + "\n")
        return
    place(1, 1, threads)
    with importing():
        from jetloom.evaluation.cost import cost as cost_

    cost_(
        chosen.architecture,
        chosen.preset,
        chosen.options,
        manifest,
        output,
        settings=chosen.settings,
        run=chosen.run,
        threads=threads,
    )


@app.command
def export(
    *, checkpoint: Path, output: Path, values: Literal["scores", "logits"] = "scores", threads: int | None = None
) -> None:
    """Write a trained model as one ONNX file, checked against PyTorch, with its inputs and classes as metadata.

    Parameters
    ----------
    checkpoint
        best.ckpt of a training.
    output
        ONNX file; any number of jets, and of particles up to the longest jet of the training.
    values
        What comes out: softmax scores, or logits.
    threads
        CPU threads.
    """
    with importing():
        from jetloom.publish.export import export as run

    run(checkpoint, output, values=values, threads=threads)
