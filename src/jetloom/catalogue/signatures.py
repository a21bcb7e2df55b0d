"""The keyword arguments of a class, with their types, read from the source: nothing is imported."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from types import EllipsisType, GenericAlias
from typing import Any, Literal, NamedTuple

from jetloom.errors import JetloomError
from jetloom.system.remembered import remembered

_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
_GENERIC = ("Literal", "list", "tuple")


class Argument(NamedTuple):
    """A keyword-only argument: its type, how that is spelled, its default (``...``: it has to be given)."""

    annotation: Any
    spelling: str
    default: Any


def source_file(module: str) -> Path:
    """The file of a module. Importing its parent packages, as importlib does, would load matplotlib to plan.

    Raises:
        JetloomError: there is no such module.
    """
    root, *parts = module.split(".")
    spec = importlib.util.find_spec(root)
    if spec is not None and spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            stem = Path(place, *parts)
            for file in (stem / "__init__.py", stem.with_suffix(".py")):
                if file.is_file():
                    return file
    elif spec is not None and spec.origin is not None and not parts:
        return Path(spec.origin)
    raise JetloomError(f"no Python module {module!r}")


@cache
def signature(class_path: str) -> dict[str, Argument]:
    """The keyword-only arguments of a class or, where it has no ``__init__``, of the base that it takes it from.

    Args:
        class_path: dotted path of the class.

    Raises:
        JetloomError: there is no such class, or an argument whose type or default cannot be read.
    """
    module, _, name = class_path.rpartition(".")
    found = _constructor(module, name)
    if found is None:
        raise JetloomError(f"module {module} has no class {name} with an __init__")
    module, arguments = found
    return {str(name): _argument(module, class_path, str(name), *words) for name, *words in arguments}


def _constructor(module: str, name: str) -> tuple[str, list[list[str | None]]] | None:
    """The arguments of the ``__init__`` of a class, as :func:`names` has them, and the module that writes them."""
    match _definition(module, name):
        case [module, ["class", _, [*arguments]]]:
            return module, arguments
        case [module, ["class", bases, None]]:
            found = (_constructor(module, base) for base in bases)
            return next((base for base in found if base is not None), None)
        case _:
            return None


def _definition(module: str, name: str) -> tuple[str, list[Any]] | None:
    """The class or the value that a name of a module stands for, and the module that defines it."""
    match remembered(source_file(module), names).get(name):
        case ["import", other, original]:
            return _definition(other, original)
        case None:
            return None
        case found:
            return module, found


def names(text: str) -> dict[str, list[Any]]:
    """What the names of a module stand for.

    Returns:
        ``["class", bases, arguments]`` with name, annotation and default of each keyword-only argument of its
        ``__init__``, None: it has none; ``["value", expression]``; ``["import", module, name]``.
    """
    found: dict[str, list[Any]] = {}
    for node in ast.parse(text).body:
        match node:
            case ast.ClassDef(name=name):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                found.setdefault(name, ["class", bases, _arguments(node)])
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.setdefault(name, ["value", ast.unparse(value)])
            case ast.ImportFrom(module=str(other), names=aliases, level=0):
                for alias in aliases:
                    found.setdefault(alias.asname or alias.name, ["import", other, alias.name])
    return found


def _arguments(node: ast.ClassDef) -> list[list[str | None]] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            pairs = zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)
            return [[argument.arg, _text(argument.annotation), _text(default)] for argument, default in pairs]
    return None


def _text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node)


class _Expanded(ast.NodeTransformer):
    """Writes what they stand for in the place of aliases of types, ``Name = Literal[...]``."""

    def __init__(self, module: str) -> None:
        self.module = module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in _TYPES or node.id in _GENERIC:
            return node
        match _definition(self.module, node.id):
            case [module, ["value", value]]:
                expanded: ast.expr = _Expanded(module).visit(_expression(value))
                return expanded
            case _:
                raise ValueError(f"no alias {node.id}")


def _argument(module: str, class_path: str, name: str, annotation: str | None, default: str | None) -> Argument:
    try:
        if annotation is None:
            raise ValueError("no type")
        expanded = _Expanded(module).visit(_expression(annotation))
        return Argument(
            _as_type(expanded), ast.unparse(expanded), ... if default is None else ast.literal_eval(default)
        )
    except (ValueError, JetloomError):
        raise JetloomError(
            f"{class_path}: {name}: an option needs a type of int, float, bool, str, list[...], "
            f"tuple[..., ...], Literal[...], None or an alias of these; a default has to be a constant"
        ) from None


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


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
            return GenericAlias(list, (_as_type(item),))
        case ast.Subscript(
            value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=EllipsisType())])
        ):
            return GenericAlias(tuple, (_as_type(item), ...))
        case _:
            raise ValueError(f"no type {ast.unparse(node)}")
