"""A module that waits to be executed is the module itself as soon as anybody needs it."""

import importlib
import sys

import pytest

from jetloom.system.later import Later, later, stand_in

PACKAGE = {
    "__init__.py": "from . import first\nfrom .first import Thing\nnumber = 2\nfirst.executed.append(__name__)\n",
    "first.py": "executed = []\nclass Thing: pass\n",
    "second.py": "from . import first\nfrom . import number\nfirst.executed.append(__name__)\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a package on disk, which counts how often it is executed."""
    name = "slow_to_import"
    (tmp_path / name).mkdir()
    for file, text in PACKAGE.items():
        (tmp_path / name / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield name
    for module in [name, f"{name}.first", f"{name}.second"]:
        sys.modules.pop(module, None)


def test_what_is_given_executes_nothing(package):
    later(package, number=1)
    module = importlib.import_module(package)
    assert module.number == 1
    assert isinstance(module, Later)
    assert f"{package}.first" not in sys.modules


def test_anything_else_executes_the_module_in_its_place(package):
    later(package, number=1)
    module = importlib.import_module(package)
    assert module.Thing is module.first.Thing
    assert module.number == 2
    assert module is sys.modules[package]
    assert not isinstance(module, Later)


def test_a_part_executes_the_whole_before_it_and_nothing_twice(package):
    later(package, number=1)
    second = importlib.import_module(f"{package}.second")
    assert second.number == 2
    first = importlib.import_module(f"{package}.first")
    assert first.executed == [package, f"{package}.second"]
    assert second.first is first is sys.modules[package].first


def test_a_part_that_the_whole_imports_is_executed_once(package):
    later(package, number=1)
    first = importlib.import_module(f"{package}.first")
    assert first.executed == [package]
    assert first is sys.modules[package].first
    assert first.__spec__.loader.get_source(first.__name__) == PACKAGE["first.py"]


def test_instances_of_a_class_that_is_not_there_yet(package):
    thing = stand_in(package, "Thing")
    later(package, Thing=thing)
    assert not isinstance(1, thing)
    real = importlib.import_module(f"{package}.first").Thing
    assert isinstance(real(), thing)
    assert not isinstance(1, thing)


def test_what_is_imported_already_stays(package):
    module = importlib.import_module(package)
    later(package, number=1)
    assert sys.modules[package] is module
    assert module.number == 2


def test_what_is_not_installed_is_still_not_there():
    later("no_such_package", number=1)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_package")
