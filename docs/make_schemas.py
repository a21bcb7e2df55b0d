"""Write the JSON schemas of all YAML files of jetloom: ``python docs/make_schemas.py`` (``make docs``).

Editors read them (a header in each file names its schema); jetloom itself checks more, such as what fits together.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from jetloom import config
from jetloom.catalogue import cards
from jetloom.config.derived import DerivedDataset
from jetloom.report.papers.published import PublishedTable

HERE = Path(cards.__file__).parent / "schemas"
ROOTS: dict[str, type[BaseModel]] = {
    "experiment": config.Experiment,
    "dataset": config.Dataset,
    "model": cards.ModelCard,
    "task": cards.TaskCard,
    "published": PublishedTable,
}
"""What a file of each kind holds."""
PARTS = (config.Training, config.Dataset, DerivedDataset)
"""What is laid over something else: sections that the models hold as plain dictionaries."""


class Plain(GenerateJsonSchema):
    """Without titles, which only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas() -> dict[str, dict[str, Any]]:
    """One schema for each kind of file."""
    asked = [(model, "validation") for model in {*ROOTS.values(), *PARTS}]
    asked.sort(key=lambda item: item[0].__name__)
    _, everything = models_json_schema(asked, schema_generator=Plain, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = _stripped(everything["$defs"])
    required = {name: definition.get("required", []) for name, definition in definitions.items()}
    # Presets, experiments and their scales are laid over each other: what is missing in one is in another.
    for name in ("Experiment", "Dataset", "DerivedDataset", "Simulation", "MadeBy", "Generate", "Tokenise", "Start"):
        definitions[name].pop("required", None)
    _lay_over(definitions)
    return {kind: _schema(model.__name__, definitions, required) for kind, model in ROOTS.items()}


def _lay_over(definitions: dict[str, Any]) -> None:
    """Say what is in the sections that are plain dictionaries in Python."""
    scales = definitions["Experiment"]["properties"]["scales"]
    scales["additionalProperties"] = {"$ref": "#/$defs/Experiment"}
    for name in ("Experiment", "DatasetChanges", "ModelChanges", "ModelPreset", "Row"):
        recipe = definitions[name]["properties"]["training"]
        recipe.clear()
        recipe |= {"$ref": "#/$defs/Training", "description": "recipe, over the one before it"}
    own, derived = definitions["Dataset"]["properties"], definitions["DerivedDataset"]["properties"]
    either = {key: own[key] if own.get(key) == derived[key] else _either(own.get(key), derived[key]) for key in derived}
    definitions["DatasetChanges"]["properties"] |= either
    definitions["DatasetChanges"]["additionalProperties"] = False
    own["based_on"] = {"type": "string", "description": "preset that this one changes"}


def _either(first: Any, second: Any) -> Any:
    return {"anyOf": [first, second]} if first else second


def _schema(root: str, definitions: dict[str, Any], required: dict[str, list[str]]) -> dict[str, Any]:
    """The schema of one kind of file, with the definitions that it needs."""
    needed, queue = set(), [root]
    while queue:
        name = queue.pop()
        if name not in needed:
            needed.add(name)
            queue += _references(definitions[name])
    # A preset of a data set may be based on another one.
    missing = [] if root == "Dataset" else required[root]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"jetloom: {root}",
        # Not beside a reference, where older editors would not look.
        "allOf": [{"$ref": f"#/$defs/{root}"}],
        **({"required": missing} if missing else {}),
        "$defs": {name: definitions[name] for name in sorted(needed)},
    }


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rpartition("/")[2]] if isinstance(value.get("$ref"), str) else []
        return own + [name for item in value.values() for name in _references(item)]
    return [name for item in value for name in _references(item)] if isinstance(value, list) else []


def _stripped(value: Any) -> Any:
    """Without the marks that are for the workflow alone."""
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key != "remakes"}
    return [_stripped(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for kind, schema in schemas().items():
        (HERE / f"{kind}.json").write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
