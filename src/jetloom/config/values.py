"""Plain values, before the schema reads them: laid over each other, from the command line, from patterns."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, product
from typing import Any

import yaml

from jetloom.errors import JetloomError


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Each layer laid over those before it, section by section; lists and values are replaced."""
    merged: dict[str, Any] = {}
    for key, value in chain.from_iterable(layer.items() for layer in layers):
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["a.b=1", "c=[1, 2]"]`` as ``{"a": {"b": 1}, "c": [1, 2]}``; values are YAML.

    Raises:
        JetloomError: no ``=``, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise JetloomError(f"{assignment!r}: expected KEY=VALUE")
        value = parse_value(text, assignment)
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def parse_value(text: str, where: str | None = None) -> Any:
    """A value as the command line gives it.

    Raises:
        JetloomError: it is not YAML.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise JetloomError(f"{(where or text)!r}: the value is not YAML") from None


def expand_braces(pattern: str) -> Iterator[str]:
    """``a_{x,y}_{00..02}.root`` as the shell would expand it, ranges with leading zeros."""
    parts: list[list[str]] = []
    for text, braces in re.findall(r"([^{]+)|\{([^}]*)\}", pattern):
        if text:
            parts.append([text])
        elif interval := re.fullmatch(r"(\d+)\.\.(\d+)", braces):
            first, last = interval.groups()
            parts.append([str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)])
        else:
            parts.append(braces.split(","))
    return map("".join, product(*parts))
