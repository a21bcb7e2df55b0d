"""Whether one of our results repeats a published one, decided from its manifest and its ``training.json`` alone.

What differs is said in words. A result that differs in anything that a reader of the paper would ask about, the data,
their number, the inputs, the architecture or the recipe, is no reproduction, whatever its figures.
"""

from typing import Any

from jetloom.catalogue import cards
from jetloom.catalogue.options import check_options
from jetloom.config import Training, read_by, resolve_training
from jetloom.report.papers.published import PublishedTable, Row
from jetloom.results.collection import Entry, words
from jetloom.training.made_from import all_options

TOLERANCE = 0.1
"""Numbers of jets that differ by less count as alike: papers round them, and validation jets are set apart in several
ways."""
SAME_SIZE = 0.02
"""Parameters that differ by less count as equal: papers round them, and with two classes some have one output."""
APART = {"devices", "nodes", "initial_weights"}
"""Settings of a training that are judged in sentences of their own."""
UNTOLD = {"precision", "validation_samples", "validation"}
"""Settings that papers do not tell, and that change how a training runs, not what it aims at."""


def differences(table: PublishedTable, row: Row, entry: Entry, manifest: dict[str, Any]) -> list[str]:
    """In what a model of ours differs from the published one; empty: it is like with like.

    Args:
        table: the published table.
        row: the line that it may repeat.
        entry: our model, trained.
        manifest: of the data that it was trained and tested on.
    """
    found = [*([row.unlike] if row.unlike else []), *_data(table, row, manifest), *_inputs(table, row, manifest)]
    parameters = float(row.values.get("parameters", entry.parameters))
    if abs(entry.parameters - parameters) > SAME_SIZE * parameters:
        found.append(f"{entry.parameters:,} parameters, published {parameters:,.0f}")
    for result in entry.results:
        found += _model(table, row, result.training)
        found += _recipe(table, row, result.training)
        if result.metrics["split"] != "test":
            found.append(f"split {result.metrics['split']}")
        if result.metrics["data_digest"] != result.training["data_digest"]:
            found.append("trained on other data than tested on")
    return list(dict.fromkeys(found))


def _data(table: PublishedTable, row: Row, manifest: dict[str, Any]) -> list[str]:
    wanted = row.dataset or table.dataset
    found = []
    if manifest["simulated"]:
        found.append("simulated jets, not the public set" if manifest["kind"] == "jets" else "shapes of ours")
    if manifest["dataset"] != wanted:
        found.append(f"data set {manifest['dataset']}, published on {wanted}")
    for split, published in (("train", row.train or table.train), ("test", table.test)):
        ours = manifest["splits"][split]["jets"]
        if abs(ours - published) > TOLERANCE * published:
            word = {"train": "training", "test": "test"}[split]
            found.append(f"{ours:,} {word} {words(manifest).things}, published {published:,}")
    classes = cards.read("datasets", table.dataset)["classes"]
    if manifest["classes"] != classes:
        found.append(f"{len(manifest['classes'])} classes, published {len(classes)}")
    return found


def _inputs(table: PublishedTable, row: Row, manifest: dict[str, Any]) -> list[str]:
    found, length = [], row.max_particles or table.max_particles
    if manifest["feature_set"] != table.feature_set:
        found.append(f"inputs {manifest['feature_set']}, published {table.feature_set}")
    if manifest["max_particles"] != length:
        found.append(f"{manifest['max_particles']} {words(manifest).particles}, published {length}")
    return found


def _model(table: PublishedTable, row: Row, training: dict[str, Any]) -> list[str]:
    assert row.model is not None
    if training["architecture"] != row.model:
        return [f"architecture {training['architecture']}, published {row.model}"]
    card = cards.model_card(row.model)
    wanted = _resolved(row.model, card.presets[table.preset].options | row.options)
    ours = _resolved(row.model, training["options"])
    return [f"option {name} = {ours[name]}, published {wanted[name]}" for name in wanted if ours[name] != wanted[name]]


def _recipe(table: PublishedTable, row: Row, training: dict[str, Any]) -> list[str]:
    assert row.model is not None
    card = cards.model_card(row.model)
    recipe = resolve_training(card.presets[table.preset].training | row.training).model_dump(mode="json")
    ours = resolve_training(training["training"]).model_dump(mode="json")
    passed = read_by(Training, "nothing") | APART | UNTOLD
    if recipe["batch_phases"] and ours["batch_phases"]:
        passed |= {"epochs", "batch_size"}
    found = [
        f"{name.replace('_', ' ')} {_short(ours[name])}, published {_short(value)}"
        for name, value in recipe.items()
        if name not in passed and ours[name] != value
    ]
    devices = ours["devices"] * ours["nodes"]
    if devices > 1:
        found.append(f"{devices} devices of {ours['batch_size']} jets a step")
    if row.fine_tuned and not ours["initial_weights"]:
        found.append("from scratch, published fine-tuned")
    if ours["initial_weights"] and not row.fine_tuned:
        found.append("fine-tuned, published from scratch")
    return found


def _resolved(model: str, values: dict[str, Any]) -> dict[str, Any]:
    """All options of an architecture, as JSON would have them; the length is the data's."""
    known = all_options(model, {})
    known |= check_options(model, {key: value for key, value in values.items() if key in known}, model)
    return {name: _plain(value) for name, value in known.items()}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
