"""Finished experiments side by side: the same model in each, how it was made, what it reaches, what differs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jetloom.config import Training, read_by
from jetloom.drawing.cells import Cell, Records, Table, changed_footnote, commits_cell, model_cell
from jetloom.drawing.numbers import fixed, scaled, significant
from jetloom.errors import JetloomError
from jetloom.report.shows import show_of
from jetloom.results.collection import Collection, DataSet, Entry
from jetloom.results.cost import device_hours
from jetloom.statistics.values import Difference
from jetloom.tasks.shows import Metric


class Finished(NamedTuple):
    """A model on a data set in one experiment."""

    experiment: str
    dataset: DataSet
    entry: Entry


def compare(experiments: dict[str, Collection]) -> dict[str, Table]:
    """One table for each data set that two or more experiments have.

    Args:
        experiments: results by the name under which an experiment is shown, the reference first.

    Raises:
        JetloomError: there is nothing to compare.
    """
    names = dict.fromkeys(dataset.name for collection in experiments.values() for dataset in collection.datasets)
    tables = {}
    for name in names:
        found = [
            Finished(experiment, dataset, entry)
            for experiment, collection in experiments.items()
            for dataset in collection.datasets
            if dataset.name == name
            for entry in dataset.entries
        ]
        if len({item.experiment for item in found}) > 1:
            tables[name] = _table(name, found)
    if not tables:
        held = "; ".join(
            f"{experiment}: {', '.join(dataset.name for dataset in collection.datasets)}"
            for experiment, collection in experiments.items()
        )
        raise JetloomError(f"compare: no data set is in two of the experiments ({held})")
    return tables


def changes(first: Finished, second: Finished) -> list[str]:
    """What differs in how two results were made, as ``name: first -> second``."""
    ours, theirs = (_described(item) for item in (first, second))
    return [
        f"{name}: {_short(ours.get(name))} → {_short(theirs.get(name))}"
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name)
    ]


def same_jets(first: Finished, second: Finished) -> bool:
    """Whether both were tested on the same jets, in the same order."""
    one, other = (item.entry.results[0].predictions for item in (first, second))
    return np.array_equal(one.label, other.label) and all(
        np.array_equal(values, other.observers[name], equal_nan=True)
        for name, values in one.observers.items()
        if name in other.observers
    )


def _table(name: str, found: list[Finished]) -> Table:
    show = show_of(found[0].dataset.task.name)
    metrics = (
        [metric for metric in show.metrics(found[0].dataset) if metric.shown] if found[0].dataset.evaluated else []
    )
    columns = [Cell(show.model.capitalize()), Cell("Experiment"), *(Cell(metric.title) for metric in metrics)]
    columns += [Cell(text) for text in ("Parameters", "FLOPs", "Device-hours", "Seeds", "Data", "Commit")]
    columns.append(Cell("Differs in", hint="from manifest.json and training.json"))
    rows: list[tuple[str, list[Cell]]] = []
    records: list[Sequence[Any]] = []
    for model in dict.fromkeys(item.entry.model for item in found):
        lines = [item for item in found if item.entry.model == model]
        reference = lines[0]
        for item in lines:
            rows.append((model, _line(item, metrics, "" if item is reference else _differs(reference, item))))
        for item in lines[1:]:
            differences = _differences(reference, item, metrics)
            rows.append((model, _difference_line(reference, item, differences, len(columns))))
            records += [
                (model, item.experiment, reference.experiment, metric, *difference, difference.sigma)
                for metric, difference in differences.items()
                if difference is not None
            ]
    note = (
        f"Reference: {found[0].experiment}. Values: mean over seeds ± test jets (68 %) ± spread over seeds. "
        f"Differences: the other experiment less the reference, in units of the uncertainty; {show.pairing}. Where the "
        "test jets differ there is no difference to quote."
    )
    return Table(
        f"{show.heading(found[0].dataset)}: experiments compared", note, columns, rows,
        changed_footnote([item.entry for item in found]),
        Records(("model", "experiment", "reference", "metric", "difference", "uncertainty", "sigma"), records),
    )  # fmt: skip


def _line(item: Finished, metrics: list[Metric], differs: str) -> list[Cell]:
    entry = item.entry
    digest = item.dataset.manifest["digest"]
    flops = entry.cost["flops"] if entry.cost else None
    return [
        model_cell(entry),
        Cell(item.experiment, item.experiment),
        *(metric.written(entry) for metric in metrics),
        Cell(scaled(entry.parameters), entry.parameters),
        Cell("–" if flops is None else scaled(flops), flops),
        Cell(significant(device_hours(entry), 2), device_hours(entry)),
        Cell(", ".join(str(result.seed) for result in entry.results), len(entry.results)),
        Cell(digest[:12], digest, digest),
        commits_cell(entry),
        Cell(differs or "–", differs or None),
    ]


def _differs(reference: Finished, item: Finished) -> str:
    found = changes(reference, item)
    if reference.dataset.evaluated and not same_jets(reference, item):
        found.insert(0, "other test jets, not comparable")
    return "; ".join(found) or "nothing but chance"


def _differences(reference: Finished, item: Finished, metrics: list[Metric]) -> dict[str, Difference | None]:
    """Differences of each metric; none without the same test jets."""
    if not metrics or not same_jets(reference, item):
        return {}
    return {
        metric.name: metric.difference(item.entry, reference.entry) if metric.difference else None for metric in metrics
    }


def _difference_line(
    reference: Finished, item: Finished, differences: dict[str, Difference | None], width: int
) -> list[Cell]:
    label = f"{item.experiment} − {reference.experiment} [σ]"
    # A commit with changes is marked at the results themselves.
    cells = [replace(model_cell(item.entry), mark=""), Cell(label, label)]
    for difference in differences.values():
        if difference is None:
            cells.append(Cell("–", None))
        else:
            sign = "−" if difference.value < 0 else "+"
            hint = f"{difference.value:.3g} ± {difference.uncertainty:.2g}"
            cells.append(Cell(f"{sign}{fixed(difference.sigma, 1)}", difference.value, hint))
    return [*cells, *(Cell("–", None) for _ in range(width - len(cells)))]


def _described(item: Finished) -> dict[str, Any]:
    """Everything that decides on a result, by name."""
    training, manifest = item.entry.results[0].training, item.dataset.manifest
    handling = read_by(Training, "nothing")
    recipe = {key: value for key, value in training["training"].items() if key not in handling}
    splits = {f"{split} jets": facts["jets"] for split, facts in manifest["splits"].items()}
    data = {key: manifest[key] for key in ("feature_set", "max_particles", "classes", "selection", "seed", "simulated")}
    return {
        "architecture": training["architecture"], "preset": training["preset"], **training["options"], **recipe,
        **splits, **data, "seeds": [result.seed for result in item.entry.results], "device": training["device"],
        "commit": item.entry.results[0].commit,
    }  # fmt: skip


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
