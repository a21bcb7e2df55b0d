"""What a verb works on: a training or a model of an experiment's configuration, or one that is given by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jetloom.catalogue.cards import model_card, names
from jetloom.config import (
    Cost,
    Evaluation,
    Experiment,
    Run,
    TaskChoice,
    Training,
    merge,
    monitor_of,
    parse_assignments,
    parse_value,
    read_experiment,
    resolve_dataset,
    resolve_tasks,
    resolve_training,
    validate,
)
from jetloom.data.prepare.manifest import Manifest
from jetloom.errors import JetloomError
from jetloom.workflow.plan import Plan


@dataclass(frozen=True)
class TrainingChoice:
    """A training.

    Attributes:
        architecture: row of the registry.
        preset: named size.
        options: over the preset's.
        tasks: what it is trained to do, the main task first.
        recipe: all of it.
        run: ``experiment``, ``dataset``, ``model``, ``seed``, ``title``.
        live_after: seconds after which MLflow shows it.
    """

    architecture: str
    preset: str | None
    options: dict[str, Any]
    tasks: list[TaskChoice]
    recipe: Training
    run: dict[str, Any]
    live_after: float = 0.0


def configured(verb: str, config: Path | None, run: str | None, **given: object) -> tuple[Path, str] | None:
    """CONFIG and RUN, which together say what a verb works on; None: neither was given.

    Args:
        verb: its name.
        config: of the option.
        run: of the option.
        given: the other options that say so, by name; false: not given.

    Raises:
        JetloomError: one without the other, or an option beside them that would not count.
    """
    if config is None and run is None:
        return None
    if config is None or run is None:
        raise JetloomError(f"{verb}: --config and --run are given together or not at all")
    if idle := ", ".join(f"--{name}" for name, value in given.items() if value):
        raise JetloomError(
            f"{verb}: {idle}: would not count beside --config and --run; leave it out, or change {config}"
        )
    return config, run


def find_run(config: Path, name: str) -> tuple[Experiment, Run]:
    """A configuration, and one of its trainings.

    Raises:
        JetloomError: a mistake in the configuration, or it has no such training.
    """
    experiment = read_experiment(config)
    runs = {f"{run.dataset}/{run.model}/seed{run.seed}": run for run in experiment.runs}
    if name not in runs:
        raise JetloomError(f"--run {name}: {config} has no such training; allowed: {', '.join(runs)}")
    return experiment, runs[name]


def chosen_training(config: Path, name: str) -> TrainingChoice:
    """A training of a configuration, its starting weights filled in.

    Raises:
        JetloomError: as :func:`find_run`.
    """
    experiment, run = find_run(config, name)
    choice = experiment.model(run.dataset, run.model)
    planned = Plan(experiment).trainings[run]
    recipe = planned.recipe.model_copy(update={"initial_weights": planned.weights})
    told = {"experiment": experiment.experiment, **run._asdict(), "title": choice.title}
    tasks = experiment.tasks_of(run.model)
    live_after = experiment.tracking.live_after
    return TrainingChoice(choice.architecture, choice.preset, choice.options, tasks, recipe, told, live_after)


def training_by_hand(
    manifest: Path,
    model: str,
    preset: str | None,
    options: Sequence[str],
    task: str | None,
    settings: Sequence[str],
    seed: int,
    experiment: str,
    dataset: str | None,
    name: str | None,
    title: str | None,
) -> TrainingChoice:
    """A training as the flags of the verb say it.

    Raises:
        JetloomError: no such architecture or preset, or a mistake in the settings.
    """
    card = model_card(model)
    if preset is not None and preset not in card.presets:
        raise JetloomError(f"{model} has no preset {preset!r}; allowed: {', '.join(card.presets)}")
    recipe = card.presets[preset].training if preset else {}
    run = {
        "experiment": experiment,
        "dataset": dataset or Manifest.read(manifest).dataset,
        "model": name or model,
        "seed": seed,
        "title": title or card.title,
    }
    resolved = resolve_training(merge(recipe, parse_assignments(settings)))
    tasks = resolve_tasks(parse_value(task) if task else None, "--task")
    monitor_of(resolved, tasks)
    return TrainingChoice(model, preset, parse_assignments(options), tasks, resolved, run)


class EvaluationChoice(NamedTuple):
    """What is computed of the scores of a training, and against which class."""

    settings: Evaluation
    background: str | None
    working_points: dict[str, float]


def evaluation_of(config: Path, name: str) -> EvaluationChoice:
    """The evaluation of a training of a configuration.

    Raises:
        JetloomError: as :func:`find_run`.
    """
    experiment, run = find_run(config, name)
    dataset = experiment.dataset(run.dataset)
    return EvaluationChoice(experiment.evaluation, dataset.background, dataset.working_points)


def evaluation_by_hand(manifest: Path, assignments: Sequence[str]) -> EvaluationChoice:
    """An evaluation as the flags of the verb say it; background and working points are those of the preset, if any.

    Raises:
        JetloomError: a mistake in the settings.
    """
    described = Manifest.read(manifest)
    values = parse_assignments(assignments)
    words: dict[str, Any] = {key: values.pop(key) for key in ("background", "working_points") if key in values}
    settings = validate(Evaluation, values, "evaluation")
    if described.dataset not in names("datasets"):
        return EvaluationChoice(settings, words.get("background"), words.get("working_points", {}))
    dataset = resolve_dataset(described.dataset, {"classes": described.classes, **words}, "evaluation")
    return EvaluationChoice(settings, dataset.background, dataset.working_points)


@dataclass(frozen=True)
class CostChoice:
    """A measurement of cost.

    Attributes:
        architecture: row of the registry.
        preset: named size.
        options: over the preset's.
        settings: what is measured.
        run: ``dataset``, ``model``, ``title``.
    """

    architecture: str
    preset: str | None
    options: dict[str, Any]
    settings: Cost
    run: dict[str, Any]


def cost_of(config: Path, name: str) -> CostChoice:
    """A measurement of a configuration.

    Raises:
        JetloomError: a mistake in the configuration, or it has no such model.
    """
    experiment = read_experiment(config)
    pairs = {f"{run.dataset}/{run.model}": run for run in experiment.runs}
    if name not in pairs:
        raise JetloomError(f"--run {name}: {config} has no such model; allowed: {', '.join(pairs)}")
    run = pairs[name]
    choice = experiment.model(run.dataset, run.model)
    told = {"dataset": run.dataset, "model": run.model, "title": choice.title}
    return CostChoice(choice.architecture, choice.preset, choice.options, experiment.cost, told)


def cost_by_hand(
    manifest: Path,
    model: str,
    preset: str | None,
    options: Sequence[str],
    settings: Sequence[str],
    dataset: str | None,
    name: str | None,
    title: str | None,
) -> CostChoice:
    """A measurement as the flags of the verb say it.

    Raises:
        JetloomError: no such architecture, or a mistake in the settings.
    """
    run = {
        "dataset": dataset or Manifest.read(manifest).dataset,
        "model": name or model,
        "title": title or model_card(model).title,
    }
    chosen = validate(Cost, parse_assignments(settings), "cost")
    return CostChoice(model, preset, parse_assignments(options), chosen, run)
