"""Finished experiments side by side: the same model in each, how it was made, what it reaches, what differs."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jetloom.config import Training, read_by
from jetloom.drawing.cells import Cell, Table, changed_footnote, changed_mark, figure_cell, rejection_cell
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import Figure, fixed, scaled, significant
from jetloom.errors import JetloomError
from jetloom.report.papers.rebuilt import device_hours
from jetloom.results.collect import Collection, DataSet, Entry
from jetloom.results.over_seeds import (
    Difference,
    accuracy_difference,
    apart,
    combined_interval,
    over_seeds,
    rejection_at,
)
from jetloom.tasks.classification.paired import auc_difference, median_result


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
    points = found[0].dataset.first["values"]["rejection"]
    columns = [Cell("Tagger"), Cell("Experiment"), Cell("Accuracy"), Cell("AUC")]
    columns += [Cell(f"{in_text(signal)} {100 * point['efficiency']:g}\u00a0%") for signal, point in points.items()]
    columns += [Cell(text) for text in ("Parameters", "FLOPs", "Device-hours", "Seeds", "Data", "Commit")]
    columns.append(Cell("Differs in", hint="from manifest.json and training.json"))
    rows: list[tuple[str, list[Cell]]] = []
    records: list[Sequence[Any]] = []
    for model in dict.fromkeys(item.entry.model for item in found):
        lines = [item for item in found if item.entry.model == model]
        reference = lines[0]
        for item in lines:
            rows.append((model, _line(item, list(points), "" if item is reference else _differs(reference, item))))
        for item in lines[1:]:
            differences = _differences(reference, item, points)
            rows.append((model, _difference_line(reference, item, differences, len(columns))))
            records += [
                (model, item.experiment, reference.experiment, metric, *difference, difference.sigma)
                for metric, difference in differences.items()
                if difference is not None
            ]
    reference = found[0].experiment
    note = (
        f"Reference: {reference}. Values: mean over seeds ± test jets (68 %) ± spread over seeds. Differences: the "
        "other experiment less the reference, in units of the uncertainty; both were tested on the same jets, "
        "so that what both get right or wrong cancels. Where the test jets differ there is no difference to quote."
    )
    entries = [item.entry for item in found]
    return Table(
        f"{found[0].dataset.title}: experiments compared", note, columns, rows, changed_footnote(entries),
        (("model", "experiment", "reference", "metric", "difference", "uncertainty", "sigma"), records),
    )  # fmt: skip


def _line(item: Finished, signals: list[str], differs: str) -> list[Cell]:
    entry = item.entry
    points = item.dataset.first["values"]["rejection"]
    cells = [
        Cell(entry.title, entry.title.lower(), entry.model, mark=changed_mark(entry)),
        Cell(item.experiment, item.experiment),
        figure_cell(over_seeds(entry, "accuracy")),
        figure_cell(over_seeds(entry, "auc")),
    ]
    for signal in signals:
        figure = rejection_at(entry, signal, points[signal]["efficiency"]) if signal in points else None
        cells.append(rejection_cell(figure, f"{figure.seeds} seeds") if figure else Cell("–", None))
    digest = item.dataset.manifest["digest"]
    commits = sorted({((result.training.get("git") or {}).get("commit") or "none")[:9] for result in entry.results})
    flops = entry.cost["flops"] if entry.cost else None
    return [
        *cells,
        Cell(scaled(entry.parameters), entry.parameters),
        Cell("–" if flops is None else scaled(flops), flops),
        Cell(significant(device_hours(entry), 2), device_hours(entry)),
        Cell(", ".join(str(result.seed) for result in entry.results), len(entry.results)),
        Cell(digest[:12], digest, digest),
        Cell(", ".join(commits) + (" (changed)" if changed_mark(entry) else ""), ", ".join(commits)),
        Cell(differs or "–", differs or None),
    ]


def _differs(reference: Finished, item: Finished) -> str:
    found = changes(reference, item)
    if not same_jets(reference, item):
        found.insert(0, "other test jets, not comparable")
    return "; ".join(found) or "nothing but chance"


def _differences(reference: Finished, item: Finished, points: dict[str, Any]) -> dict[str, Difference | None]:
    """Differences of each metric; none without the same test jets."""
    if not same_jets(reference, item):
        return {}
    auc = auc_difference(median_result(item.entry), median_result(reference.entry))
    scatter = [over_seeds(entry.entry, "auc") for entry in (reference, item)]
    means = [figure.value or 0.0 for figure in scatter]
    error = math.hypot(auc.uncertainty, *((figure.spread or 0.0) / math.sqrt(figure.seeds) for figure in scatter))
    found: dict[str, Difference | None] = {
        "accuracy": accuracy_difference(item.entry, reference.entry),
        "auc": Difference(means[1] - means[0], error),
    }
    for signal, point in points.items():
        found[f"rejection_{signal}"] = _rejections(
            *(rejection_at(entry.entry, signal, point["efficiency"]) for entry in (item, reference))
        )
    return found


def _rejections(first: Figure | None, second: Figure | None) -> Difference | None:
    if first is None or second is None or first.value is None or second.value is None:
        return None
    (low, high), (other_low, other_high) = combined_interval(first), combined_interval(second)
    if high is None or other_high is None:
        return None
    sigma = apart((first.value, low, high), (second.value, other_low, other_high))
    difference = first.value - second.value
    return Difference(
        difference, abs(difference / sigma) if sigma else math.hypot(first.value - low, other_high - second.value)
    )


def _difference_line(
    reference: Finished, item: Finished, differences: dict[str, Difference | None], width: int
) -> list[Cell]:
    entry = item.entry
    label = f"{item.experiment} − {reference.experiment} [σ]"
    cells = [Cell(entry.title, entry.title.lower(), entry.model), Cell(label, label)]
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
        "commit": ((training.get("git") or {}).get("commit") or "none")[:9],
    }  # fmt: skip


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
