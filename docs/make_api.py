"""Write the pages of the Python interface from docstrings: ``python docs/make_api.py`` (``make docs``).

The source is read, not imported. The pages in docs/api/ are not kept in git.
"""

import logging
import re
from pathlib import Path

import griffe

HERE = Path(__file__).parent
PAGES = {
    "batch": ("Jets in memory", ["jetloom.batch", "jetloom.kinematics", "jetloom.substructure", "jetloom.errors"]),
    "models": (
        "Models",
        ["jetloom.models.registry", "jetloom.models.published", "jetloom.models.network", "jetloom.models.weights"],
    ),
    "architectures": ("Architectures", ["jetloom.models.*"]),
    "layers": ("Layers", ["jetloom.models.layers.*"]),
    "data": ("Data", ["jetloom.data.read.*", "jetloom.data.prepare.*", "jetloom.data.sources.*"]),
    "tasks": ("Tasks", ["jetloom.tasks.task", "jetloom.tasks.registry", "jetloom.tasks.*.learn"]),
    "statistics": ("Statistics", ["jetloom.statistics.*"]),
    "config": ("Configuration", ["jetloom.config.*"]),
    "evaluation": ("Evaluation", ["jetloom.evaluation.*"]),
}
"""Page: title, and the modules on it; ``*`` stands for one name."""


def render(title: str, modules: list[griffe.Module]) -> str:
    """One page: what its modules say of themselves, and of everything public that they define."""
    lines = [f"# {title}", ""]
    for module in modules:
        public = [member for member in module.members.values() if _shown(member)]
        if not public and not module.docstring:
            continue
        lines += [f"## {module.path}", "", *_docstring(module)]
        for member in public:
            lines += [f"### {member.name}", "", *_signature(member), *_docstring(member)]
            fields = [
                inner for inner in member.members.values() if isinstance(inner, griffe.Attribute) and _shown(inner)
            ]
            if fields:
                lines += ["| attribute | |", "|---|---|"]
                lines += [f"| {_code(_declared(field))} | {_cell(field)} |" for field in fields] + [""]
            for inner in member.members.values():
                if isinstance(inner, griffe.Function) and _shown(inner):
                    lines += [f"#### {member.name}.{inner.name}", "", *_signature(inner), *_docstring(inner)]
    return "\n".join(lines) + "\n"


def modules_of(package: griffe.Module, pattern: str) -> list[griffe.Module]:
    """Modules whose path fits a pattern, sorted; a package counts as its ``__init__``."""
    wanted = re.compile(re.escape(pattern).replace(r"\*", r"\w+"))
    found, queue = [], [package]
    while queue:
        module = queue.pop()
        if wanted.fullmatch(module.path):
            found.append(module)
        queue += [item for item in module.modules.values() if not item.is_alias]
    return sorted(found, key=lambda module: module.path)


def pages() -> dict[str, str]:
    """All pages, by name."""
    # Two arguments that are told in one line are no mistake.
    logging.getLogger("griffe").setLevel(logging.ERROR)
    package = griffe.load("jetloom", search_paths=[HERE.parent / "src"], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    made, placed = {}, set[str]()
    for name, (title, patterns) in PAGES.items():
        found = [module for pattern in patterns for module in modules_of(package, pattern)]
        made[name] = render(title, [module for module in found if module.path not in placed])
        placed |= {module.path for module in found}
    return made


def _shown(member: griffe.Object | griffe.Alias) -> bool:
    """Public, defined here, and said something of."""
    return not member.is_alias and member.is_public and bool(member.docstring) and not member.is_module


def _signature(member: griffe.Object | griffe.Alias) -> list[str]:
    source = member if isinstance(member, griffe.Function) else member.members.get("__init__")
    if isinstance(source, griffe.Function):
        line = f"{'class ' if isinstance(member, griffe.Class) else ''}{member.name}{_arguments(source)}"
    else:
        line = _declared(member) if isinstance(member, griffe.Attribute) else f"class {member.name}"
    return ["```python", line, "```", ""]


def _declared(attribute: griffe.Attribute) -> str:
    """Name and type, or value where no type is written."""
    if attribute.annotation is not None:
        return f"{attribute.name}: {attribute.annotation}"
    return f"{attribute.name} = {attribute.value}" if attribute.value is not None else attribute.name


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _cell(member: griffe.Object | griffe.Alias) -> str:
    """The first paragraph of a docstring, in one line."""
    return _text(member.docstring.value.split("\n\n")[0], cell=True) if member.docstring else ""


def _arguments(function: griffe.Function) -> str:
    words, star = [], False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        prefix = {"var_positional": "*", "var_keyword": "**"}.get(parameter.kind.name if parameter.kind else "", "")
        if parameter.kind is griffe.ParameterKind.keyword_only and not star:
            words.append("*")
        star = star or prefix == "*" or parameter.kind is griffe.ParameterKind.keyword_only
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        default = f" = {parameter.default}" if parameter.default is not None and not prefix else ""
        words.append(f"{prefix}{parameter.name}{annotation}{default}")
    returns = f" -> {function.returns}" if function.returns and function.name != "__init__" else ""
    return f"({', '.join(words)}){returns}"


def _docstring(member: griffe.Object | griffe.Alias) -> list[str]:
    """Text and sections, as Markdown."""
    lines: list[str] = []
    for section in member.docstring.parsed if member.docstring else []:
        match section:
            case griffe.DocstringSectionText(value=text):
                lines += [_text(text), ""]
            case griffe.DocstringSectionParameters(value=items) | griffe.DocstringSectionAttributes(value=items):
                lines += ["| | |", "|---|---|"]
                lines += [f"| `{item.name}` | {_text(item.description, cell=True)} |" for item in items] + [""]
            case griffe.DocstringSectionReturns(value=items) | griffe.DocstringSectionYields(value=items):
                lines += [f"**Returns** {_text(item.description)}" for item in items] + [""]
            case griffe.DocstringSectionRaises(value=items):
                lines += [f"**Raises** `{item.annotation}`: {_text(item.description)}\n" for item in items] + [""]
            case griffe.DocstringSectionAdmonition(value=item, title=title):
                lines += [f"**{title}** {_text(item.description)}", ""]
    return lines


def _text(text: str, cell: bool = False) -> str:
    """What a docstring says: roles of Sphinx become code, and nothing is taken for a link or HTML."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text.strip())
    # Outside code.
    parts = re.split(r"(``.+?``|`.+?`)", text, flags=re.S)
    parts[::2] = [re.sub(r"([\[\]<>*_])", r"\\\1", part) for part in parts[::2]]
    text = "".join(parts)
    return text.replace("\n", " ").replace("|", r"\|") if cell else text


if __name__ == "__main__":
    (HERE / "api").mkdir(exist_ok=True)
    for name, page in pages().items():
        (HERE / "api" / f"{name}.md").write_text(page)
