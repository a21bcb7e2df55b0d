"""What is read from the source is what Python sees: inheritance, aliases of types, mistakes."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from jetloom.catalogue import cards
from jetloom.catalogue.signatures import signature, source_file
from jetloom.errors import JetloomError

CLASSES = sorted({cards.model_card(name).class_path for name in cards.names("models")})


@pytest.mark.parametrize("class_path", CLASSES)
def test_source_says_what_python_says(class_path):
    module, _, name = class_path.rpartition(".")
    constructor = getattr(importlib.import_module(module), name).__init__
    options = {
        key: (get_type_hints(constructor)[key], parameter.default)
        for key, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    read = signature(class_path)
    assert {key: (argument.annotation, argument.default) for key, argument in read.items()} == options


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose modules cannot be imported, only read."""
    (tmp_path / "unimported").mkdir()
    broken = "raise RuntimeError('imported')\n"
    files = {
        "__init__.py": "",
        "words.py": 'from typing import Literal\nOrder = Literal["old", "new"]\nMany = list[Order]\n',
        "base.py": (
            "from torch import nn\nfrom unimported.words import Order as Sequence, Many\n"
            "class Base(nn.Module):\n"
            "    def __init__(self, n, *, order: Sequence | None = None, orders: Many = [], width: int = 3): ...\n"
        ),
        "row.py": "from unimported.base import Base\nclass Row(Base):\n    pass\nclass Bare:\n    pass\n",
        "odd.py": (
            "from unknown import Unknown\nclass Alias:\n    def __init__(self, *, x: Unknown = 1): ...\n"
            "class Untyped:\n    def __init__(self, *, x=1): ...\n"
            "class Computed:\n    def __init__(self, *, x: int = len('a')): ...\n"
            "class Required:\n    def __init__(self, *, x: int): ...\n"
            "class Local:\n    def __init__(self, *, x: Alias = 1): ...\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / "unimported" / name).write_text(broken + text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "unimported"


def test_base_classes_and_aliases_are_followed_without_importing(package):
    found = signature("unimported.row.Row")
    assert {name: argument.spelling for name, argument in found.items()} == {
        "order": "Literal['old', 'new'] | None",
        "orders": "list[Literal['old', 'new']]",
        "width": "int",
    }
    assert [argument.default for argument in found.values()] == [None, [], 3]
    assert "unimported" not in sys.modules


def test_an_argument_without_a_default_has_to_be_given(package):
    assert signature("unimported.odd.Required")["x"].default is ...


@pytest.mark.parametrize("name", ["Alias", "Untyped", "Computed", "Local"])
def test_what_cannot_be_read_is_an_error_and_not_unchecked(package, name):
    with pytest.raises(JetloomError, match=rf"^unimported\.odd\.{name}: x: an option needs a type"):
        signature(f"unimported.odd.{name}")


def test_no_class_and_no_module(package):
    for path in ("unimported.row.Bare", "unimported.row.Absent"):
        with pytest.raises(JetloomError, match="has no class"):
            signature(path)
    for module in ("unimported.absent", "absent", "absent.row"):
        with pytest.raises(JetloomError, match=f"no Python module '{module}'"):
            source_file(module)


@pytest.mark.parametrize("module", ["jetloom", "jetloom.report.figures", "jetloom.models.part", "ast"])
def test_files_are_those_that_python_imports(module):
    assert source_file(module) == Path(importlib.import_module(module).__file__)
