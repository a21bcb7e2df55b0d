"""What a result depends on in the code: edits to imported modules do not trigger Snakemake, so rules pass this.

Comments, docstrings and layout do not count: the syntax trees are hashed without them.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

from jetloom.catalogue.cards import model_card
from jetloom.catalogue.signatures import source_file
from jetloom.system.remembered import remembered

# What these say reaches a result as a value, which the rules hash, or not at all.
NEUTRAL = {
    *("jetloom.catalogue.cards", "jetloom.catalogue.options", "jetloom.catalogue.signatures"),
    *("jetloom.identity.code", "jetloom.identity.digests"),
    *("jetloom.data.prepare.about", "jetloom.errors"),
    *("jetloom.system.allocator", "jetloom.system.environment", "jetloom.system.files", "jetloom.system.masking"),
    *("jetloom.system.gpus", "jetloom.system.gpu_use", "jetloom.system.lock", "jetloom.system.remembered"),
    "jetloom.training.reporting",
}


@cache
def fingerprint(*modules: str, without: str = "") -> str:
    """Hash of some modules of jetloom and of all jetloom modules that they import, 16 hex digits.

    Args:
        modules: dotted names, for example ``jetloom.data.prepare.skim``.
        without: package that does not count, because what it decides is in a file that the stage reads.
    """
    found: dict[str, str] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name in found or name in NEUTRAL or name.startswith(("jetloom.config", "jetloom.tracking")):
            continue
        if without and name.startswith(without):
            continue
        found[name], imported = syntax(name)
        queue += imported
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name}\n{found[name]}\n".encode())
    return digest.hexdigest()[:16]


def model_fingerprint(architecture: str) -> str:
    """Hash of the code of one architecture and the parts it is made of."""
    return fingerprint(model_card(architecture).class_path.rpartition(".")[0])


@cache
def syntax(module: str) -> tuple[str, list[str]]:
    """Digest of what a module computes, and the modules of jetloom that it imports."""
    file = source_file(module)
    digest, names = remembered(file, read)
    return digest, [name for name in names if _is_module(name)]


def read(text: str) -> tuple[str, list[str]]:
    """Digest of what a text computes, the same by Python 3.11 to 3.13, and the names of what it may import."""
    tree = ast.parse(text)
    return hashlib.sha256(written(tree).encode()).hexdigest(), _imports(tree)


def written(item: object) -> str:
    """A syntax tree as text, without docstrings and without what is empty: newer Pythons know more such fields."""
    if isinstance(item, ast.AST):
        fields = [f"{name}={written(value)}" for name, value in ast.iter_fields(item) if value not in (None, [])]
        return f"{type(item).__name__}({', '.join(fields)})"
    if isinstance(item, list):
        # A bare string is a docstring (or an attribute's): it computes nothing.
        kept = [part for part in item if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))]
        return f"[{', '.join(map(written, kept))}]"
    return repr(item)


def _imports(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.startswith("jetloom")]


@cache
def _is_module(name: str) -> bool:
    path = Path(__file__).parents[1].joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
