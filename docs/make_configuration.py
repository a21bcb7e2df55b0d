"""Write docs/configuration.md from the schema: ``python docs/make_configuration.py`` (``make docs``)."""

from pathlib import Path

from pydantic import BaseModel

from jetloom import config

SECTIONS: list[tuple[str, type[BaseModel], str]] = [
    ("Top level", config.Experiment, "`config.yaml`, or a file given with `--configfile`."),
    ("`training`", config.Training, "The recipe. Values here lie over the recipe of the model's preset; "
     "`per_dataset.<name>.training` and `per_model.<name>.training` lie over both, in this order."),
    ("`training.reweighting`", config.Reweighting, "Flat classes and spectra: a jet is in a pass over the training set "
     "with the probability *jets in the smallest bin / jets in its own bin*, bins being those of `observer` in each "
     "class. Epochs are shorter unless `samples_per_epoch` says how long they are; validation and test keep all jets."),
    ("`evaluation`", config.Evaluation, "What is computed on the test split."),
    ("`cost`", config.Cost, "What is measured on this machine."),
    ("`report`", config.Report, "What the page shows."),
    ("`tracking`", config.Tracking, "MLflow."),
    ("`per_model.<name>`", config.ModelChanges, "Changes of one model, or a variant of one under a new name."),
    ("`per_dataset.<name>`", config.DatasetChanges, "Changes of one data set, or a variant of one under a new name; "
     "besides these keys any key of the preset below."),
    ("`made_by`", config.MadeBy, "In `per_dataset.<name>`: a data set that trainings make (transfer.md)."),
    ("`made_by.tokenise`", config.Tokenise, "Codes, and what they stand for."),
    ("`made_by.generate`", config.Generate, "Jets that a generator draws."),
    ("Data-set preset", config.Dataset, "`src/jetloom/catalogue/datasets/<name>.yaml`."),
    ("`files`", config.RemoteFile, "In the preset of a public data set: a list of these."),
    ("`simulation`", config.Simulation, "In the preset of a simulated data set."),
]  # fmt: skip


def spelling(schema: dict) -> str:
    """The type of a key as a reader writes it, from its JSON schema."""
    match schema:
        case {"anyOf": choices}:
            return " or ".join(spelling(choice) for choice in choices)
        case {"enum": values}:
            # 32 may be written as a number too.
            return " or ".join(dict.fromkeys(f"`{value}`" for value in values))
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(spelling(item) for item in items)}]"
        case {"type": "array", "items": item}:
            return f"list of {spelling(item)}"
        case {"type": "null"}:
            return "`null`"
        case {"type": kind}:
            return {"object": "section", "string": "text"}.get(kind, kind)
        case _:
            return "section"


def default(name: str, schema: dict, required: list[str]) -> str:
    """The default as it would be written in YAML."""
    if name in required:
        return "required"
    value = schema.get("default", "")
    return "" if isinstance(value, dict) or value == "" else f"`{'null' if value is None else value}`"


def render() -> str:
    """The whole page."""
    lines = ["# Configuration", "", "Made by `make docs` from the schema in `src/jetloom/config/`.", ""]
    for title, model, text in SECTIONS:
        lines += [f"## {title}", "", text, "", "| key | type | default | meaning |", "|---|---|---|---|"]
        schema = model.model_json_schema()
        for name, key in schema["properties"].items():
            cells = f"{spelling(key)} | {default(name, key, schema.get('required', []))} | {key.get('description', '')}"
            lines.append(f"| `{name}` | {cells} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(render())
