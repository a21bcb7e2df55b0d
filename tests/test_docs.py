"""Pages and schemas made from code say what the code says."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SCHEMAS = ROOT / "src/jetloom/catalogue/schemas"
SHIPPED = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "config.yaml",
        ".test/*.yaml",
        "benchmarks/*.yaml",
        "workflow/experiments/*.yaml",
        "src/jetloom/catalogue/*/*.yaml",
    )
    for path in ROOT.glob(pattern)
)


def maker(name: str) -> ModuleType:
    """A script of docs/."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_page_is_up_to_date():
    assert (DOCS / "configuration.md").read_text() == maker("make_configuration").render(), "run `make docs`"


def test_the_schemas_are_up_to_date():
    stored = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    assert stored == maker("make_schemas").schemas(), "run `make docs`"
    for schema in stored.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def mistakes(file: Path, values: Any) -> list[str]:
    """What an editor would mark in a file, by the schema that its header names."""
    [named] = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", (ROOT / file).read_text().split("\n")[0], re.M)
    schema = json.loads((ROOT / file.parent / named).read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(values)]


@pytest.mark.parametrize("file", SHIPPED, ids=str)
def test_no_file_has_a_mistake_in_an_editor(file):
    values = yaml.safe_load((ROOT / file).read_text())
    assert mistakes(file, values) == []
    assert mistakes(file, values | {"trainin": {}}), "an unknown key is none"


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": "1"},
        {"training": {"epoch": 3}},
        {"training": {"precision": 8}},
        {"per_dataset": {"jetclass-sim": {"classes": "QCD"}}},
        {"per_dataset": {"jetclass-sim": {"feature_set": "kim"}}},
        {"per_dataset": {"tokens": {"made_by": {"tokenize": {}}}}},
        {"per_model": {"salt": {"starts_from": {"dataset": "x", "model": "y", "seed": "some"}}}},
        {"scales": {"tiny": {"training": {"epochs": 0}}}},
    ],
    ids=str,
)
def test_mistakes_are_found_in_an_editor(change):
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert mistakes(Path("config.yaml"), values | change)


def test_what_is_allowed_twice_is_no_mistake():
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    for precision in (32, "32", "bf16"):
        assert mistakes(Path("config.yaml"), values | {"training": {"precision": precision}}) == []
