"""What an architecture can be told: its constructor, read from the source without importing torch."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from jetloom.errors import JetloomError
from jetloom.presets import model_card

_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "None": None}


class Option(NamedTuple):
    """One keyword argument of an architecture."""

    annotation: Any
    spelling: str
    default: Any


def source_file(module: str) -> Path:
    """The file of a module, found without importing the module itself."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise JetloomError(f"no Python module {module!r}")
    return Path(spec.origin)


def _as_type(node: ast.expr) -> Any:
    """Turn an annotation such as ``list[int] | None`` or ``Literal["a", "b"]`` into a type, without eval."""
    match node:
        case ast.Name(id=name) if name in _TYPES:
            return _TYPES[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _as_type(left) | _as_type(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return Literal[ast.literal_eval(values)]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_as_type(item)]
        case ast.Subscript(
            value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=EllipsisType())])
        ):
            return tuple[_as_type(item), ...]
        case _:
            return Any


@cache
def options(model: str) -> dict[str, Option]:
    """The options of an architecture: the keyword-only arguments of its class.

    Args:
        model: a name of the registry (``jetloom models``).

    Raises:
        JetloomError: the model or its class does not exist.
    """
    module, _, class_name = model_card(model).class_path.rpartition(".")
    tree = ast.parse(source_file(module).read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    pairs = zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)
                    return {
                        argument.arg: Option(
                            _as_type(argument.annotation) if argument.annotation else Any,
                            ast.unparse(argument.annotation) if argument.annotation else "",
                            ast.literal_eval(default) if default is not None else None,
                        )
                        for argument, default in pairs
                    }
    raise JetloomError(f"presets/models/{model}.yaml: module {module} has no class {class_name} with an __init__")


def check_options(model: str, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Check options by name and type; return them as the constructor wants them.

    Raises:
        JetloomError: an unknown option or a value of the wrong type, with what is allowed.
    """
    known = options(model)
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise JetloomError(f"{where}.{name}: {model} has no such option; allowed: {', '.join(known)}")
        try:
            checked[name] = TypeAdapter(known[name].annotation).validate_python(value)
        except ValidationError:
            raise JetloomError(f"{where}.{name}: expected {known[name].spelling}, got {value!r}") from None
    return checked
