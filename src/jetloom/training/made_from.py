"""What a training is made from: its identity, part by part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jetloom.catalogue.cards import model_card, task_card
from jetloom.catalogue.options import check_options, defaults
from jetloom.config import TaskChoice, Training
from jetloom.errors import JetloomError
from jetloom.identity.code import fingerprint, model_fingerprint
from jetloom.identity.digests import Identity, checksum, digest

CODE = "jetloom.training.train"
"""Module whose fingerprint is that of the training's code."""


def chosen_options(model: str, preset: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the preset and over it.

    Raises:
        JetloomError: an option that the architecture has not, or a value of another type.
    """
    given = model_card(model).presets[preset].options if preset else {}
    return check_options(model, given | dict(options), model)


def all_options(model: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the architecture as built, but for a length that is the data's."""
    known = {name: value for name, value in defaults(model).items() if name != "max_particles"}
    return known | dict(chosen)


def setting_parts(
    model: str, options: Mapping[str, Any], tasks: Sequence[TaskChoice], training: Training, seed: int
) -> dict[str, str]:
    """The parts that a configuration decides.

    Args:
        model: architecture.
        options: all of them (:func:`all_options`).
        tasks: what it is trained to do.
        training: recipe.
        seed: of the training.
    """
    return {
        "architecture": model,
        "options": digest(dict(options)),
        "task": digest([item.record() for item in tasks]),
        "recipe": digest(training.learnt()),
        "seed": str(seed),
    }


def task_fingerprint(tasks: Sequence[TaskChoice]) -> str:
    """Hash of the code of tasks, as far as it learns."""
    return fingerprint(*(task_card(item.name).class_path.rpartition(".")[0] for item in tasks))


def training_identity(
    data: str, model: str, options: Mapping[str, Any], tasks: Sequence[TaskChoice], training: Training, seed: int
) -> Identity:
    """What a training is made from: data, architecture, options, task, recipe, seed, starting weights and code.

    Args:
        data: digest of the manifest.
        model: architecture.
        options: all of them.
        tasks: what it is trained to do.
        training: recipe; its ``initial_weights`` are read.
        seed: of the training.

    Raises:
        JetloomError: there are no such weights.
    """
    weights = training.initial_weights
    return Identity(
        {
            "data": data,
            **setting_parts(model, options, tasks, training, seed),
            "starting weights": _content(Path(weights)) if weights else "none",
            "code of the model": model_fingerprint(model),
            "code of the task": task_fingerprint(tasks),
            "code of the training": fingerprint(CODE),
        }
    )


def _content(weights: Path) -> str:
    try:
        return checksum(weights)
    except FileNotFoundError:
        raise JetloomError(f"initial_weights: {weights}: no such checkpoint") from None
