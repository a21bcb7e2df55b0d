"""What an architecture can be told: the arguments of its class, and what its row of the registry says of them."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter

from jetloom.catalogue.cards import model_card
from jetloom.catalogue.signatures import signature
from jetloom.errors import JetloomError


class Option(NamedTuple):
    """One keyword argument of an architecture; a fixed one has no other value than its default."""

    annotation: Any
    spelling: str
    default: Any
    fixed: bool = False


@cache
def options(model: str) -> dict[str, Option]:
    """The options of an architecture.

    Args:
        model: a name of the registry (``jetloom models``).

    Raises:
        JetloomError: the model or its class does not exist, or the class has no such options as the row says.
    """
    card, where = model_card(model), f"catalogue/models/{model}.yaml"
    known = {name: Option(*argument) for name, argument in signature(card.class_path).items()}
    if needed := [name for name, option in known.items() if option.default is ...]:
        raise JetloomError(
            f"{card.class_path}: {needed[0]}: an option of an architecture needs a constant as its default"
        )
    for name, values in card.choices.items():
        allowed = [_check(model, known, name, value, f"{where}: choices") for value in values]
        known[name] = Option(Literal[tuple(allowed)], f"Literal{allowed}", allowed[0])
    for name, value in card.defaults.items():
        known[name] = known[name]._replace(default=_check(model, known, name, value, f"{where}: defaults"))
    for name, value in card.fixed.items():
        only = _check(model, known, name, value, f"{where}: fixed")
        known[name] = Option(known[name].annotation, f"{only} (fixed)", only, fixed=True)
    return known


def defaults(model: str) -> dict[str, Any]:
    """All options of an architecture where nothing is said."""
    return {name: option.default for name, option in options(model).items()}


def check_options(model: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check options by name and type; return them as the constructor wants them.

    Raises:
        JetloomError: an unknown option, a value of the wrong type or not the one that is fixed, with what is allowed.
    """
    known = options(model)
    return {name: _check(model, known, name, value, where) for name, value in values.items()}


def _check(model: str, known: Mapping[str, Option], name: str, value: Any, where: str) -> Any:
    if name not in known:
        allowed = ", ".join(key for key, option in known.items() if not option.fixed)
        raise JetloomError(f"{where}.{name}: {model} has no such option; allowed: {allowed}")
    option = known[name]
    try:
        checked = TypeAdapter(option.annotation).validate_python(value)
        if option.fixed and checked != option.default:
            raise ValueError("fixed")
    except ValueError:
        raise JetloomError(f"{where}.{name}: expected {option.spelling}, got {value!r}") from None
    return checked
