"""Files that hold a model: the result of a training, and what a running one needs to go on."""

import io
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jetloom.config import TaskChoice
from jetloom.errors import JetloomError
from jetloom.models.network import Network
from jetloom.models.registry import build
from jetloom.system.files import appearing
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data, Task

SCHEMA_VERSION = 2
CLASSIFIES = [{"name": "classification", "settings": {}, "weight": 1.0}]
"""What a checkpoint that names no task was trained for."""
DAMAGE = (
    *(pickle.UnpicklingError, struct.error, EOFError, OSError),
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
)
"""What torch.load raises for a damaged file."""


def save(content: dict[str, Any], path: Path) -> None:
    """Write a torch file that is complete or not there."""
    with appearing(path) as partial:
        # Through memory: writing itself, torch makes an exception without a reason of a full disk.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        partial.write_bytes(buffer.getbuffer())


def save_model(path: Path, model: nn.Module, described: dict[str, Any]) -> None:
    """Write a trained model with what is needed to build and feed it again (``described``)."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    save({"schema_version": SCHEMA_VERSION, **described, "state_dict": state}, path)


def load(path: Path) -> dict[str, Any]:
    """Read a torch file without running anything in it.

    Raises:
        JetloomError: no such file, damaged, or of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise JetloomError(f"{path}: no such checkpoint") from None
    except DAMAGE as error:
        # Some of them come without a text.
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise JetloomError(f"{path}: not a readable checkpoint ({why[:200]})") from None
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise JetloomError(f"{path}: not a checkpoint of jetloom, version {SCHEMA_VERSION}")
    return content


def load_model(path: Path) -> tuple[Network, dict[str, Any]]:
    """Build the model of a checkpoint with its weights, in evaluation mode.

    Returns:
        The model, and the checkpoint without the weights: ``model``, ``options``, ``tasks``, ``n_features``,
        ``n_classes``, ``max_particles``, ``manifest``, ``training``, ``seed``, ``epoch``, ``run``.

    Raises:
        JetloomError: not a checkpoint, or not of this architecture.
    """
    content = load(path)
    if not {"model", "options", "n_features", "n_classes", "max_particles", "state_dict"} <= content.keys():
        raise JetloomError(f"{path}: not a trained model; best.ckpt of an output directory is one")
    weights = content.pop("state_dict")
    model = build(
        content["model"],
        n_features=content["n_features"],
        n_classes=content["n_classes"],
        max_particles=content["max_particles"],
        **content["options"],
    )
    task_of(content).attach(model)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise JetloomError(
            f"{path}: the weights do not fit {content['model']}: {str(error).splitlines()[-1].strip()}"
        ) from None
    return model.eval(), content


def task_of(content: Mapping[str, Any], observers: list[str] | None = None) -> Task:
    """The task that a checkpoint says it was trained for.

    Args:
        content: of the checkpoint.
        observers: columns of the data that it is applied to; None: those of the training.

    Raises:
        JetloomError: these data do not hold what the task needs.
    """
    data = data_of(content.get("manifest") or {})
    chosen = [TaskChoice.read(record) for record in content.get("tasks", CLASSIFIES)]
    return make(chosen, data if observers is None else data._replace(observers=observers))


def data_of(manifest: Mapping[str, Any]) -> Data:
    """What a task has to know of the data, from what a checkpoint keeps of their manifest."""
    known = {
        "classes": manifest.get("classes"),
        "observers": manifest.get("observers"),
        "kind": manifest.get("kind"),
        "inputs": manifest.get("standardisation"),
        "max_particles": manifest.get("max_particles"),
        "codes": manifest.get("codes"),
    }
    return Data(**{"classes": [], "observers": []} | {name: value for name, value in known.items() if value})
