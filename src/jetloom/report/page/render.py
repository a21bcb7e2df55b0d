"""The page: one HTML file that needs no network."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from PIL import Image

from jetloom import __version__
from jetloom.drawing.cells import Table, mlflow_link
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import duration
from jetloom.drawing.plots import Plot
from jetloom.drawing.style import Look
from jetloom.report.figures import SHOWN, figures_of
from jetloom.report.page.first_screen import answer
from jetloom.report.page.fold import Fold
from jetloom.report.page.pointer import code, content
from jetloom.report.shows import show_of
from jetloom.report.tables import Tables
from jetloom.report.tables.render import TEMPLATES, environment
from jetloom.results.collection import Collection, DataSet, Entry


class Drawn(NamedTuple):
    """What the page needs of a figure beside its picture."""

    plots: Sequence[Plot]
    """For the pointer."""
    fewer: bool
    """It does not show all models."""


def render(
    collection: Collection,
    looks: dict[str, Look],
    figures: Path,
    drawings: Mapping[tuple[str, str], Drawn],
    title: str,
    config: str | None,
    shown: Tables,
) -> str:
    """The page as text.

    Args:
        collection: the results.
        looks: colours of the models.
        figures: directory of the pictures, ``<data set>/<name>.png``.
        drawings: what else is known of each, by data set and name.
        title: headline.
        config: text of the configuration file.
        shown: the tables.
    """
    links = [result.training.get("mlflow") or {} for _, result in collection.trainings]
    return (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            lead=_lead(collection),
            looks=looks,
            fold=Fold(collection),
            sections=[
                _section(dataset, looks, figures, drawings, shown.datasets[dataset.name])
                for dataset in collection.datasets
            ],
            papers=shown.papers,
            machines=_machines(collection),
            efficiency=shown.efficiency,
            local_store=any(link.get("run_id") and mlflow_link(link)[1] for link in links),
            config=config,
            # Our own files, no input: nothing in them to escape.
            css=Markup((TEMPLATES / "page.css").read_text()),
            js=Markup((TEMPLATES / "page.js").read_text()),
            pointer=code() if any(drawing.plots for drawing in drawings.values()) else None,
        )
    )


def words_of(dataset: DataSet) -> dict[str, str]:
    """What the braces in titles and captions of figures stand for."""
    cost = next((entry.cost for entry in dataset.entries if entry.cost), None)
    own = show_of(dataset.task.name).words(dataset) if dataset.evaluated else {}
    return {
        "thing": dataset.words.things,
        "particle": dataset.words.particles,
        "memory": cost["memory_method"] if cost else "",
        "clock": cost.get("clock", "median of the repetitions and their central 68 %") if cost else "",
        **own,
    }


def _section(
    dataset: DataSet,
    looks: dict[str, Look],
    figures: Path,
    drawings: Mapping[tuple[str, str], Drawn],
    of_dataset: dict[str, Table],
) -> dict[str, Any]:
    shown, words = [], words_of(dataset)
    order = [entry.model for entry in show_of(dataset.task.name).ranked(dataset)]
    for name, kind in figures_of(dataset).items():
        path = figures / dataset.name / f"{name}.png"
        if path.is_file():
            image, width, height = _embed(path)
            drawing = drawings[dataset.name, name]
            shown.append({
                "name": name, "title": kind.title.format(**words),
                "caption": kind.caption.format(**words), "leads": kind.leads,
                "fewer": f"The best {SHOWN} of {len(dataset.with_most_labels.entries)}; the CSV file has all. "
                if drawing.fewer else "",
                "image": image, "width": width, "height": height,
                "plots": content(drawing.plots, looks, order) if drawing.plots else None,
            })  # fmt: skip
    return {
        "id": dataset.name,
        "name": dataset.name,
        "title": show_of(dataset.task.name).heading(dataset),
        "model": show_of(dataset.task.name).model,
        "answer": answer(dataset.with_most_labels),
        "statement": _statement(dataset),
        "facts": _facts(dataset),
        "tables": of_dataset,
        "figures": shown,
        "data": _data(dataset),
        "recipes": [_recipe(entry) for entry in dataset.entries],
    }


def _embed(path: Path) -> tuple[str, int, int]:
    """A picture as base64, and its size."""
    with Image.open(path) as image:
        return base64.b64encode(path.read_bytes()).decode(), image.width, image.height


def _lead(collection: Collection) -> str:
    results = collection.trainings
    experiments = dict.fromkeys(result.training["run"].get("experiment", "") for _, result in results)
    seconds = sum(result.training["seconds"] for _, result in results)
    datasets = {entry.dataset for entry, _ in results}
    models = dict.fromkeys(show_of(dataset.task.name).model for dataset in collection.datasets)
    return (
        f"Experiment {', '.join(experiments)}: {len(results)} trainings of {len(collection.models)} architectures on "
        f"{len(datasets)} data set{'s' if len(datasets) > 1 else ''}, {duration(seconds)} of "
        f"training in all. Every {' and '.join(models)} of a data set is scored on the same test sample."
    )


DERIVED = {
    "tokenised": "These are codes that a tokenizer gives to the particles of jets, not the particles themselves.",
    "decoded": "These are no measured or simulated jets, but what the codes of a tokenizer stand for.",
    "generated": "A generator has made these; no collision, measured or simulated, is behind any of them.",
    "compared": "What is told apart here was made by a tokenizer or a generator, at least in part.",
}
"""What is said of data that trainings made."""


def _statement(dataset: DataSet) -> str:
    if derived := dataset.manifest.get("derived"):
        return DERIVED[derived]
    if not dataset.manifest["simulated"]:
        return ""
    like = {"jetclass": "JetClass", "modelnet": "ModelNet10"}
    public = next((name for key, name in like.items() if key in dataset.manifest["source"]), "the public set")
    things, training = dataset.words.things, dataset.manifest["splits"]["train"]["jets"]
    return (
        f"These {things} are simulations of ours, {public}-like, not the public set, {training:,} of them for "
        f"training: compare the {show_of(dataset.task.name).model}s with each other, not with published figures."
    )


def _facts(dataset: DataSet) -> str:
    splits = {name: f"{split['jets']:,}" for name, split in dataset.manifest["splits"].items()}
    counts = ", ".join(f"{number} in {name}" for name, number in splits.items())
    return (
        f"{len(dataset.classes)} classes; {dataset.words.things} per split: {counts}. Inputs: "
        f"{len(dataset.manifest['features'])} features per {dataset.words.particle} (set "
        f"“{dataset.manifest['feature_set']}”), at most {dataset.manifest['max_particles']} {dataset.words.particles}."
    )


def _data(dataset: DataSet) -> list[tuple[str, str]]:
    manifest = dataset.manifest
    cuts = [_cut(name, *bounds) for name, bounds in manifest["selection"].items()]
    rows = [
        ("Data set", f"{dataset.title} ({manifest['dataset']})"),
        ("Origin", _origin(manifest)),
        ("Classes", ", ".join(in_text(name) for name in manifest["classes"])),
        ("Selection", "; ".join(cuts) or "none"),
        ("Features", ", ".join(manifest["features"])),
    ]
    for name, split in manifest["splits"].items():
        counts = list(split["per_class"].values())
        spread = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
        truncated = f"; {split['truncated']:,} cut to {manifest['max_particles']}" if split["truncated"] else ""
        rows.append((f"Split {name}", f"{split['jets']:,} {dataset.words.things}, {spread} per class{truncated}"))
    rows += [
        ("Made from", f"files: {len(manifest['made_from'])}; their hashes are in manifest.json"),
        ("Digest of the tensors", f"sha256 {manifest['digest']}"),
    ]
    return rows


def _origin(manifest: dict[str, Any]) -> str:
    before = "simulated by jetloom" if manifest["simulated"] else f"public files, read by {manifest['source']}"
    derived = manifest.get("derived")
    return f"{derived} by trainings of this experiment; before that {before}" if derived else before


def _cut(name: str, low: float | None, high: float | None) -> str:
    left = f"{low:g} ≤ " if low is not None else ""
    right = f" ≤ {high:g}" if high is not None else ""
    return f"{left}{name}{right}"


def _recipe(entry: Entry) -> tuple[str, str]:
    facts = entry.results[0].training
    options = json.dumps(facts["options"], sort_keys=True)
    training = json.dumps(facts["training"], sort_keys=True)
    return entry.title, f"{facts['architecture']}, preset {facts['preset']}, options {options}; training {training}"


def _machines(collection: Collection) -> list[tuple[str, str]]:
    trained = [result.training for _, result in collection.trainings]
    costs = [entry.cost for dataset in collection.datasets for entry in dataset.entries if entry.cost]
    rows = [("Trained on", "; ".join(_unique(_machine(facts["hardware"]) for facts in trained)))]
    if costs:
        rows.append(("Cost measured on", "; ".join(_unique(_machine(cost["hardware"]) for cost in costs))))
    names = _unique(name for facts in trained for name in facts["versions"])
    for name in names:
        rows.append((name, ", ".join(_unique(facts["versions"].get(name, "unknown") for facts in trained))))
    rows.append(("report made by", f"jetloom {__version__}"))
    seconds = sum(facts["seconds"] for facts in trained)
    device = sum(facts["seconds"] * facts.get("processes", 1) for facts in trained)
    rows.append(("Training time", f"{duration(seconds)} of wall time, {duration(device)} of device time; "
                 f"{len(trained)} trainings"))  # fmt: skip
    rows.append(("Interrupted and resumed", "; ".join(_resumed(collection)) or "no training"))
    return rows


def _resumed(collection: Collection) -> list[str]:
    return [
        f"{entry.title} on {entry.dataset}, seed {result.seed}: {number} time{'s' if number > 1 else ''}"
        for entry, result in collection.trainings
        if (number := result.training.get("resumed", 0))
    ]


def _machine(hardware: dict[str, Any]) -> str:
    parts = [hardware.get("gpu"), hardware.get("cpu"), f"threads: {hardware['threads']}"]
    if hardware.get("memory_gb"):
        parts.append(f"{hardware['memory_gb']:g} GB")
    return ", ".join(part for part in parts if part)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
