"""Which stage has to run again when a setting changes, said where the setting is defined."""

from typing import Any, Literal

from pydantic import BaseModel

Effect = Literal["raw", "skims", "tensors", "training", "evaluation", "nothing"]
"""The first stage of the pipeline that reads a setting."""
Kind = Literal["jets", "points", "tokens"]


def remakes(effect: Effect, *, points: Effect | None = None) -> dict[str, Any]:
    """The mark of a field, or of a section for all fields that have none of their own, as its ``json_schema_extra``.

    Args:
        effect: the first stage that reads it.
        points: the same for point clouds, where it is another one.
    """
    return {"remakes": {"jets": effect, "tokens": effect, "points": points or effect}}


def read_by(model: type[BaseModel], *effects: Effect, kind: Kind = "jets") -> set[str]:
    """Fields of a section that one of some stages is the first to read.

    Args:
        model: section whose fields are marked.
        effects: stages; ``nothing``: settings that change no result.
        kind: of the data set.

    Raises:
        KeyError: a field without a mark.
    """
    default: Any = model.model_config.get("json_schema_extra", {})
    own: dict[str, Any] = {name: field.json_schema_extra or {} for name, field in model.model_fields.items()}
    return {name for name, mark in own.items() if (default | mark)["remakes"][kind] in effects}
