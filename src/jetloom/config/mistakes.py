"""A mistake in the configuration is one line: the key, what is wrong with it, what is allowed."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jetloom.errors import JetloomError

Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Validate, with every mistake as one line of a JetloomError."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [explain(model, item, where) for item in error.errors()]
        raise JetloomError("\n".join(lines)) from None


def known(where: str, name: str, allowed: Collection[str]) -> None:
    """Raise JetloomError for a name that is not among the allowed ones."""
    if name not in allowed:
        raise JetloomError(unknown(where, name, allowed))


def section(values: Mapping[str, Any], key: str, prefix: str = "") -> Mapping[str, Any]:
    """A section before the schema reads it; one that is not there is empty. Raise JetloomError for what is none."""
    value = values.get(key) or {}
    if not isinstance(value, Mapping):
        raise JetloomError(f"{prefix}{key}: expected a section, got {value!r}")
    return value


def explain(model: type[BaseModel], error: Any, where: str) -> str:
    path = ".".join(str(part) for part in error["loc"])
    key = ".".join(part for part in (where, path) if part)
    match error["type"]:
        case "extra_forbidden":
            return unknown(where=key.rpartition(".")[0] or "top level", got=str(error["loc"][-1]),
                            allowed=_allowed(model, error["loc"][:-1]), what="unknown key")  # fmt: skip
        case "missing":
            return f"{key}: missing; it is required"
        case "value_error":
            return f"{key or 'configuration'}: {error['ctx']['error']}"
        case _:
            return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _allowed(model: Any, path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), model)
    return list(model.model_fields)


def unknown(where: str, got: str, allowed: Collection[str], what: str = "unknown name") -> str:
    close = difflib.get_close_matches(got, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{where}: {what} {got!r}{hint}; allowed: {', '.join(allowed)}"
