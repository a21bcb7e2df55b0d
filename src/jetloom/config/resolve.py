"""What holds in the end: a preset or the defaults, with the changes of an experiment laid over them."""

from collections.abc import Mapping
from typing import Any

from jetloom import presets
from jetloom.config.dataset import Dataset
from jetloom.config.mistakes import unknown, validate
from jetloom.config.training import Training
from jetloom.config.values import merge
from jetloom.errors import JetloomError


def resolve_dataset(name: str, changes: Mapping[str, Any], where: str) -> Dataset:
    """A data-set preset with changes merged in, key by key.

    Raises:
        JetloomError: unknown preset, unknown key, wrong type, class that does not exist.
    """
    preset = presets.read("datasets", name)
    classes = changes.get("classes")
    if isinstance(classes, list):
        for label in classes:
            if label not in preset["classes"]:
                raise JetloomError(unknown(f"{where}.classes", str(label), preset["classes"]))
        if "working_points" not in changes:
            points = {key: value for key, value in preset.get("working_points", {}).items() if key in classes}
            preset = preset | {"working_points": points}
        if preset.get("background") not in classes and "background" not in changes:
            preset = preset | {"background": None}
    return validate(Dataset, merge(preset, changes), where)


def resolve_training(values: Mapping[str, Any], where: str = "training") -> Training:
    """A recipe from the values that differ from the defaults.

    Raises:
        JetloomError: unknown key or wrong type.
    """
    return validate(Training, values, where)
