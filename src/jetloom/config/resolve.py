"""What holds in the end: a preset or the defaults, with the changes of an experiment laid over them."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from pydantic import ValidationError

from jetloom.catalogue import cards
from jetloom.config.dataset import Dataset
from jetloom.config.mistakes import known, validate
from jetloom.config.training import Training
from jetloom.config.values import merge


def resolve_dataset(name: str, changes: Mapping[str, Any], where: str) -> Dataset:
    """A data-set preset with changes merged in, key by key.

    Raises:
        JetloomError: unknown preset, unknown key, wrong type, class that does not exist.
    """
    preset = cards.read("datasets", name)
    classes = changes.get("classes", preset["classes"])
    if isinstance(classes, list):
        for label in classes:
            known(f"{where}.classes", str(label), preset["classes"])
        # A class that is left out, or becomes the background, takes what the preset says of it along.
        background = preset.get("background")
        signals = {str(label) for label in classes} - {changes.get("background", background)}
        points = {key: value for key, value in preset.get("working_points", {}).items() if key in signals}
        preset = preset | {"working_points": points, "background": background if background in classes else None}
    return validate(Dataset, merge(preset, changes), where)


def resolve_training(values: Mapping[str, Any], where: str = "training") -> Training:
    """A recipe from the values that differ from the defaults.

    Raises:
        JetloomError: unknown key or wrong type.
    """
    return validate(Training, values, where)


def resolve_recipe(layers: Mapping[str, Mapping[str, Any]]) -> Training:
    """A recipe from layers, each laid over those before it.

    Args:
        layers: changes by the place in the configuration where they are made.

    Raises:
        JetloomError: what the layers make together is no recipe; named is the first layer that spoils it.
    """
    recipes = list(accumulate(layers.values(), merge))
    try:
        return Training.model_validate(recipes[-1])
    except ValidationError:
        return [resolve_training(recipe, where) for where, recipe in zip(layers, recipes, strict=True)][-1]
