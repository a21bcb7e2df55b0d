"""What the sections of the configuration are made of."""

import re
from collections import Counter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from jetloom.config.values import expand_braces

Value = TypeVar("Value")


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _different(values: list[Value]) -> list[Value]:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"the same entry twice: {', '.join(map(str, twice))}")
    return values


def _number_or(word: str, least: int) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value != word and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ValueError(f"expected {word} or a whole number from {least} on, got {value!r}")
        return value

    return BeforeValidator(check)


def _directory(path: str) -> str:
    if not path.strip() or re.search(r"[\0\r\n]", path):
        raise ValueError(f"expected the path of a directory, got {path!r}")
    return path


def _below(pattern: str) -> str:
    for path in expand_braces(pattern):
        if not path or path.startswith("/") or ".." in path.split("/") or re.search(r"[\0\r\n]", path):
            raise ValueError(f"expected a relative path that stays below its directory, got {pattern!r}")
    return pattern


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
"""In the open interval (0, 1)."""
Different = Annotated[list[Value], AfterValidator(_different)]
"""A list that has no entry twice."""
Seeds = Annotated[Different[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Labels = Annotated[Literal["all"] | int, _number_or("all", 1)]
"""How many labelled jets."""
SeedOrSame = Annotated[Literal["same"] | int, _number_or("same", 0)]
Directory = Annotated[str, AfterValidator(_directory)]
"""A path, which may hold blanks and what means something to a shell, but no end of line."""
Below = Annotated[str, AfterValidator(_below)]
"""A path relative to the raw files, or several with braces; none leads out."""
