"""The verb that trains."""

from pathlib import Path

from jetloom.cli.app import Option, Set, app
from jetloom.errors import JetloomError
from jetloom.system.importing import importing


@app.command
def train(
    manifest: Path,
    *,
    model: str | None = None,
    output: Path,
    scratch: Path,
    config: Path | None = None,
    run: str | None = None,
    preset: str | None = None,
    option: Option = (),
    task: str | None = None,
    set_: Set = (),
    seed: int = 1,
    experiment: str = "by-hand",
    dataset: str | None = None,
    name: str | None = None,
    title: str | None = None,
    store: Path | None = None,
    threads: int | None = None,
    profile_steps: int | None = None,
) -> None:
    """Train one architecture on prepared tensors; a killed training resumes when the command is given again.

    What is trained is said by CONFIG and RUN together, or by MODEL and the settings after it.

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
    config
        Configuration of an experiment, as the workflow leaves it in its results.
    run
        Training of CONFIG, such as jetclass-sim/salt/seed1.
    preset
        Named size and recipe of the architecture.
    task
        What is learnt, as YAML: a name, or {name: options}; default: classification (`jetloom tasks` lists them).
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
    profile_steps
        Write where the time of so many steps goes to OUTPUT-profile: a trace (for ui.perfetto.dev) and a table. With
        recorded steps on a GPU up to seven more.
    """
    from jetloom.cli.choice import chosen_training, configured, training_by_hand
    from jetloom.workflow.machines import place

    if profile_steps is not None and profile_steps < 1:
        raise JetloomError(f"train: --profile-steps: expected at least 1, got {profile_steps}")
    by_hand = {"model": model, "preset": preset, "option": option, "task": task, "set": set_, "seed": seed != 1}
    named = {"experiment": experiment != "by-hand", "dataset": dataset, "name": name, "title": title}
    if told := configured("train", config, run, **by_hand, **named):
        choice = chosen_training(*told)
    elif model is None:
        raise JetloomError("train: give --config and --run, or --model")
    else:
        choice = training_by_hand(manifest, model, preset, option, task, set_, seed, experiment, dataset, name, title)
    place(choice.recipe.devices, choice.recipe.nodes, threads)
    with importing():
        from jetloom.training.train import train as train_

    train_(
        manifest,
        output,
        model=choice.architecture,
        preset=choice.preset,
        options=choice.options,
        tasks=choice.tasks,
        training=choice.recipe,
        seed=choice.run["seed"],
        run=choice.run,
        scratch=scratch,
        store=store,
        live_after=choice.live_after,
        threads=threads,
        profile_steps=profile_steps,
    )
