"""The tables that all tasks have: figures of merit and cost of every model, trainings."""

from dataclasses import replace
from typing import Any

from jetloom.catalogue.options import options
from jetloom.drawing.cells import (
    PARTS,
    Cell,
    Records,
    Table,
    changed_footnote,
    difference_cell,
    made,
    mlflow_link,
    model_cell,
    seeds,
)
from jetloom.drawing.numbers import duration, scaled, significant, with_uncertainties
from jetloom.report.shows import show_of
from jetloom.results.collection import Collection, DataSet, Entry, Result
from jetloom.results.cost import busy, largest_batch, longest_input, milliseconds_per_jet
from jetloom.tasks.shows import Metric, Show

BUSY = ("§", "the machine was busy: even the faster half of the repetitions spreads by more than 5 %")
"""Mark and words for a time that is not to be relied on."""


def overview(dataset: DataSet) -> Table:
    """Figures of merit and cost of every model, the best one first."""
    show = show_of(dataset.task.name)
    entries, metrics = show.ranked(dataset), _metrics(show, dataset, "overview")
    shown = [metric for metric in metrics if metric.shown]
    cost = next((entry.cost for entry in entries if entry.cost), None)
    columns = [Cell(show.model.capitalize())]
    for metric in shown:
        columns.append(Cell(metric.title, hint=metric.hint))
        if metric is shown[0] and metric.difference:
            columns.append(Cell(show.behind.head, hint=show.behind.hint))
    columns.append(Cell("Parameters"))
    if cost:
        columns += _cost_heads(cost, dataset)
    columns.append(Cell("Training", hint="wall time, mean over seeds"))
    rows = []
    for entry in entries:
        cells = [model_cell(entry, f"{entry.model}, {seeds(entry)}")]
        for metric in shown:
            cells.append(metric.written(entry, best=metric is shown[0] and entry is entries[0]))
            if metric is shown[0] and metric.difference:
                cells.append(_behind(show, metric, entry, entries[0]))
        cells.append(Cell(scaled(entry.parameters), entry.parameters, f"{entry.parameters:,}"))
        if cost:
            cells += _cost_cells(entry)
        seconds = entry.training_seconds
        cells.append(Cell(duration(seconds), seconds, f"{len(entry.results)} trainings"))
        rows.append((entry.model, cells))
    note = "Uncertainties: first the test jets (68 % bootstrap), then the spread (standard deviation) over seeds."
    if max(len(entry.results) for entry in entries) == 1:
        note = "Uncertainties: the test jets (68 % bootstrap). One seed each: the spread over seeds is unknown."
    notes = changed_footnote(entries) + ((BUSY,) if any(entry.cost and busy(entry.cost) for entry in entries) else ())
    return Table(show.title, note if shown else "", columns, rows, notes, records(dataset, metrics))


def runs(collection: Collection, dataset: DataSet) -> Table:
    """Every training with its MLflow run, commit, time and machine."""
    show = show_of(dataset.task.name)
    lead = show.lead(dataset)
    names = [show.model.capitalize(), "Seed", *([lead.title] if lead else []), "Best epoch", "Padding", "Wall time",
             "Device", "Commit", "MLflow run"]  # fmt: skip
    rows = []
    for entry in dataset.entries:
        for result in entry.results:
            facts = result.training
            git = facts.get("git") or {}
            dirty = " (changed)" if git.get("dirty") else ""
            hint = "the working tree had uncommitted changes" if dirty else git.get("commit") or "not a git clone"
            resumed = f"resumed {facts['resumed']} times" if facts.get("resumed") else "undisturbed"
            rows.append((entry.model, [
                Cell(entry.title, entry.title.lower(), f"{facts['architecture']}, preset {facts['preset']}"),
                Cell(str(result.seed), result.seed),
                *([lead.written(replace(entry, results=[result]))] if lead else []),
                Cell(f"{facts['best_epoch'] + 1} of {facts['epochs_done']}", facts["best_epoch"]),
                _padding(facts),
                Cell(duration(facts["seconds"]), facts["seconds"], resumed),
                Cell(facts["device"], facts["device"]),
                Cell(result.commit + dirty, result.commit, hint),
                _mlflow(result),
            ]))  # fmt: skip
    return Table("Trainings", "", [Cell(name) for name in names], rows, (), csv_of_runs(collection, dataset))


def _padding(facts: dict[str, Any]) -> Cell:
    """Whether padded slots take part in the answer: only the networks of the SAL-T paper can let them."""
    choice = options(facts["architecture"]).get("mask")
    mask = facts["options"].get("mask", choice.default) if choice else "real"
    says = "takes part, as published" if mask == "published" else "left out"
    return Cell(says, says, f"mask: {mask}" if choice else "by construction")


def csv_of_dataset(dataset: DataSet) -> Records:
    """Everything that the page's tables say about the models, unrounded."""
    return records(dataset, _metrics(show_of(dataset.task.name), dataset))


def records(dataset: DataSet, metrics: list[Metric]) -> Records:
    """Some of the figures of merit, and the cost, of every model, unrounded."""
    columns = ["model", "title", "seeds", *(metric.name + part for metric in metrics for part in PARTS)]
    columns += ["parameters", "flops", "flops_particles", "milliseconds_per_jet", "peak_memory_mb", "training_seconds"]
    rows = []
    for entry in dataset.entries:
        row: list[Any] = [entry.model, entry.title, len(entry.results)]
        for metric in metrics:
            row += made((metric.of(entry) or (None,) * 4)[:4], "metrics")
        row += made([entry.parameters], "costs" if entry.cost else "training")
        if entry.cost:
            numbers = (entry.cost["flops"], entry.cost["flops_particles"], milliseconds_per_jet(entry)["median"],
                       longest_input(entry.cost)["peak_memory_mb"])  # fmt: skip
            row += made(numbers, "costs")
        else:
            row += [None] * 4
        row += made([entry.training_seconds], "training")
        rows.append(row)
    return Records(columns, rows, [entry.results for entry in dataset.entries])


def csv_of_runs(collection: Collection, only: DataSet | None = None) -> Records:
    """One row for each training: figures of merit, and where they come from.

    Args:
        collection: the results.
        only: those of one section; None: of all.
    """
    sections = [only] if only else collection.datasets
    names = list(dict.fromkeys(name for dataset in sections for name in _names(dataset)))
    trainings: dict[tuple[str, str, int], tuple[Entry, Result, dict[str, Any]]] = {}
    for dataset in sections:
        for entry in dataset.entries:
            for result in entry.results:
                key = (entry.dataset, entry.model, result.seed)
                known = trainings.setdefault(key, (entry, result, {}))
                known[2].update(_single_values(dataset, result))
    columns = ("dataset", "model", "seed", *names, "best_epoch", "epochs", "seconds", "device", "commit", "dirty",
               "data_digest", "checkpoint_sha256", "mlflow_experiment_id", "mlflow_run_id")  # fmt: skip
    rows = []
    for entry, result, values in trainings.values():
        facts = result.training
        git, tracked = facts.get("git") or {}, facts.get("mlflow") or {}
        told = (facts["best_epoch"], facts["epochs_done"], facts["seconds"], facts["device"], git.get("commit"),
                git.get("dirty"))  # fmt: skip
        evaluated = result.metrics or {"data_digest": facts["data_digest"], "checkpoint_sha256": None}
        role = "metrics" if result.metrics else "training"
        rows.append((
            entry.dataset, entry.model, result.seed, *made((values.get(name) for name in names), "metrics"),
            *made(told, "training"),
            *made((evaluated["data_digest"], evaluated["checkpoint_sha256"]), role),
            *made((tracked.get("experiment_id"), tracked.get("run_id")), "training"),
        ))  # fmt: skip
    return Records(columns, rows, [[result] for _, result, _ in trainings.values()])


def _metrics(show: Show, dataset: DataSet, table: str | None = None) -> list[Metric]:
    """Figures of merit of a table, or all."""
    if not dataset.evaluated:
        return []
    return [metric for metric in show.metrics(dataset) if table in (None, metric.table)]


def _names(dataset: DataSet) -> list[str]:
    """The figures of merit of which each training has one number."""
    values = dataset.first.get("values", {})
    return [metric.name for metric in _metrics(show_of(dataset.task.name), dataset) if metric.key in values]


def _single_values(dataset: DataSet, result: Result) -> dict[str, Any]:
    values = result.metrics.get("values", {})
    metrics = _metrics(show_of(dataset.task.name), dataset)
    return {metric.name: values[metric.key]["value"] for metric in metrics if metric.key in values}


def _behind(show: Show, metric: Metric, entry: Entry, best: Entry) -> Cell:
    if entry is best:
        return Cell("–", 0.0, show.behind.best)
    difference = metric.behind(best, entry)
    return difference_cell(difference, 100) if difference else Cell("–", None)


def _cost_heads(cost: dict[str, Any], dataset: DataSet) -> list[Cell]:
    point, largest = longest_input(cost), largest_batch(cost)
    particles = dataset.words.particles
    return [
        Cell(f"FLOPs ({cost['flops_particles']} {particles})", hint=cost["flop_counter"]),
        Cell(f"Time per {dataset.words.thing} [ms]", hint=f"batch {largest['batch_size']}, {largest['particles']} "
             f"{particles}, {cost['hardware']['threads']} threads"),
        Cell("Peak memory [MB]", hint=f"batch {point['batch_size']}, {point['particles']} {particles}; "
             f"{cost['memory_method']}"),
    ]  # fmt: skip


def _cost_cells(entry: Entry) -> list[Cell]:
    if not entry.cost:
        return [Cell("not measured", None)] * 3
    flops = entry.cost["flops"]
    time = milliseconds_per_jet(entry)
    value, *uncertainty = with_uncertainties(time["median"], (time["high"] - time["low"]) / 2)
    memory = longest_input(entry.cost)["peak_memory_mb"]
    return [
        Cell(scaled(flops), flops, f"{flops:,} FLOPs = {entry.cost['macs']:,} MACs"),
        Cell(value, time["median"], entry.cost.get("clock", "median and central 68 %"), tuple(uncertainty),
             mark=BUSY[0] if busy(entry.cost) else ""),
        Cell("unknown" if memory is None else significant(memory, 2), memory),
    ]  # fmt: skip


def _mlflow(result: Result) -> Cell:
    tracked = result.training.get("mlflow") or {}
    if not tracked.get("run_id"):
        return Cell("not tracked", None)
    link, local = mlflow_link(tracked)
    hint = "start `jetloom mlflow ui` first" if local else ""
    return Cell(tracked["run_id"][:8], tracked["run_id"], hint, link=link)
