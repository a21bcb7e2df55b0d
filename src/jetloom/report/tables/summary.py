"""The tables of a data set: figures of merit and cost of every model, rejections, trainings."""

from collections.abc import Sequence
from typing import Any

from jetloom.drawing.cells import (
    Cell,
    Records,
    Table,
    changed_footnote,
    changed_mark,
    figure_cell,
    mlflow_link,
    rejection_cell,
)
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import Figure, duration, scaled, significant, with_uncertainties
from jetloom.options import options
from jetloom.report.figures.costs import milliseconds_per_jet
from jetloom.results.collect import Collection, DataSet, Entry, Result
from jetloom.results.over_seeds import (
    accuracy_difference,
    over_seeds,
    ranked,
    rejection_over_seeds,
    survivors,
)


def overview(dataset: DataSet) -> Table:
    """Accuracy, AUC and cost of every model, best accuracy first."""
    entries = ranked(dataset)
    cost = next((entry.cost for entry in entries if entry.cost), None)
    columns = [
        Cell("Tagger"),
        Cell("Accuracy"),
        Cell(
            "Behind the best [%]",
            hint="percentage points of accuracy; only jets that one of the two gets right count",
        ),
        Cell("AUC", hint="macro one-vs-one"),
        Cell("Parameters"),
    ]
    if cost:
        point = _memory_point(cost)
        columns += [
            Cell(f"FLOPs ({cost['flops_particles']} {dataset.particle})", hint=cost["flop_counter"]),
            Cell(f"Time per {dataset.thing[:-1]} [ms]", hint=_latency_hint(cost, dataset)),
            Cell("Peak memory [MB]", hint=f"batch {point['batch_size']}, {point['particles']} {dataset.particle}; "
                 f"{cost['memory_method']}"),
        ]  # fmt: skip
    columns.append(Cell("Training", hint="wall time, mean over seeds"))
    rows = []
    for entry in entries:
        seconds = sum(result.training["seconds"] for result in entry.results) / len(entry.results)
        accuracy = over_seeds(entry, "accuracy")
        cells = [
            Cell(entry.title, entry.title.lower(), f"{entry.model}, {_seeds(entry)}", mark=changed_mark(entry)),
            figure_cell(accuracy, best=entry is entries[0]),
            _behind(entry, entries[0]),
            figure_cell(over_seeds(entry, "auc")),
            Cell(scaled(entry.parameters), entry.parameters, f"{entry.parameters:,}"),
        ]
        if cost:
            cells += _cost_cells(entry)
        cells.append(Cell(duration(seconds), seconds, f"{len(entry.results)} trainings"))
        rows.append((entry.model, cells))
    note = "Uncertainties: first the test jets (68 % bootstrap), then the spread (standard deviation) over seeds."
    if max(len(entry.results) for entry in entries) == 1:
        note = "Uncertainties: the test jets (68 % bootstrap). One seed each: the spread over seeds is unknown."
    return Table("Accuracy and cost", note, columns, rows, changed_footnote(entries), *_records(dataset, "overview"))


def rejections(dataset: DataSet) -> Table | None:
    """Background rejection of every model for every signal class."""
    points = dataset.first["values"]["rejection"]
    if not points:
        return None
    entries = ranked(dataset)
    jets = next(iter(points.values()))["background_jets"]
    columns = [Cell("Tagger")] + [
        Cell(
            f"{in_text(name)} {100 * point['efficiency']:g}\u00a0%",
            hint=f"at signal efficiency {point['efficiency']:g}",
        )
        for name, point in points.items()
    ]
    rows = []
    for entry in entries:
        cells = [Cell(entry.title, entry.title.lower(), entry.model, mark=changed_mark(entry))]
        for name in points:
            hint = f"{survivors(entry, name):.3g} of {jets:,} background {dataset.thing} survive, {_seeds(entry)}"
            cells.append(rejection_cell(rejection_over_seeds(entry, name), hint))
        rows.append((entry.model, cells))
    against = in_text(dataset.background) if dataset.background else "all other classes"
    discriminant = "s_S/(s_S + s_B)" if dataset.background else "s_S"
    note = (
        f"1/ε_B against {against} ({jets:,} test {dataset.thing}) at the signal efficiency in the head of each column; "
        f"discriminant {discriminant}; mean background efficiency over seeds. Uncertainties: 68 % interval (bootstrap, "
        "widened to Clopper–Pearson below ten survivors) and spread over seeds in quadrature. “>”: less than one "
        "background jet survives, lower end of the interval."
    )
    return Table(
        "Background rejection", note, columns, rows, changed_footnote(entries), *_records(dataset, "rejections")
    )


def runs(collection: Collection, dataset: DataSet) -> Table:
    """Every training with its MLflow run, commit, time and machine."""
    columns, records, _ = csv_of_runs(collection)
    records = [record for record in records if record[0] == dataset.name]
    trainings = [[result] for entry in dataset.entries for result in entry.results]
    names = ("Tagger", "Seed", "Accuracy", "Best epoch", "Padding", "Wall time", "Device", "Commit", "MLflow run")
    rows = []
    for entry in dataset.entries:
        for result in entry.results:
            facts, value = result.training, result.metrics["values"]["accuracy"]
            git = facts.get("git") or {}
            commit = (git.get("commit") or "")[:9] or "none"
            dirty = " (changed)" if git.get("dirty") else ""
            hint = "the working tree had uncommitted changes" if dirty else git.get("commit") or "not a git clone"
            accuracy = figure_cell(Figure(value["value"], value["low"], value["high"], None, 1))
            resumed = f"resumed {facts['resumed']} times" if facts.get("resumed") else "undisturbed"
            rows.append((entry.model, [
                Cell(entry.title, entry.title.lower(), f"{facts['architecture']}, preset {facts['preset']}"),
                Cell(str(result.seed), result.seed),
                accuracy,
                Cell(f"{facts['best_epoch'] + 1} of {facts['epochs_done']}", facts["best_epoch"]),
                _padding(facts),
                Cell(duration(facts["seconds"]), facts["seconds"], resumed),
                Cell(facts["device"], facts["device"]),
                Cell(commit + dirty, commit, hint),
                _mlflow(result),
            ]))  # fmt: skip
    return Table("Trainings", "", [Cell(name) for name in names], rows, (), (columns, records), trainings)


def _padding(facts: dict[str, Any]) -> Cell:
    """Whether padded slots take part in the answer: only the networks of the SAL-T paper can let them."""
    choice = options(facts["architecture"]).get("mask")
    mask = facts["options"].get("mask", choice.default) if choice else "real"
    says = "takes part, as published" if mask == "published" else "left out"
    return Cell(says, says, f"mask: {mask}" if choice else "by construction")


def csv_of_dataset(dataset: DataSet) -> Records:
    """Everything that the page's tables say about the models, unrounded."""
    points = dataset.first["values"]["rejection"]
    parts = ("", "_low", "_high", "_seed_spread")
    columns = ["model", "title", "seeds"]
    columns += [name + part for name in ("accuracy", "auc", "loss") for part in parts]
    columns += [f"rejection_{name}{part}" for name in points for part in parts]
    columns += ["parameters", "flops", "flops_particles", "milliseconds_per_jet", "peak_memory_mb", "training_seconds"]
    rows = []
    for entry in dataset.entries:
        row: list[Any] = [entry.model, entry.title, len(entry.results)]
        for name in ("accuracy", "auc", "loss"):
            row += over_seeds(entry, name)[:4]
        for name in points:
            row += rejection_over_seeds(entry, name)[:4]
        row.append(entry.parameters)
        if entry.cost:
            row += [entry.cost["flops"], entry.cost["flops_particles"], milliseconds_per_jet(entry)["median"],
                    _memory_point(entry.cost)["peak_memory_mb"]]  # fmt: skip
        else:
            row += [None] * 4
        row.append(sum(result.training["seconds"] for result in entry.results) / len(entry.results))
        rows.append(row)
    return Records(columns, rows, [entry.results for entry in dataset.entries])


def csv_of_runs(collection: Collection) -> Records:
    """One row for each training: figures of merit, and where they come from."""
    columns = ("dataset", "model", "seed", "accuracy", "auc", "loss", "best_epoch", "epochs", "seconds",
               "device", "commit", "dirty", "data_digest", "checkpoint_sha256",
               "mlflow_experiment_id", "mlflow_run_id")  # fmt: skip
    rows = []
    for entry, result in collection.results:
        facts, values = result.training, result.metrics["values"]
        git, tracked = facts.get("git") or {}, facts.get("mlflow") or {}
        rows.append((
            entry.dataset, entry.model, result.seed, *(values[name]["value"] for name in ("accuracy", "auc", "loss")),
            facts["best_epoch"], facts["epochs_done"], facts["seconds"], facts["device"], git.get("commit"),
            git.get("dirty"), result.metrics["data_digest"], result.metrics["checkpoint_sha256"],
            tracked.get("experiment_id"), tracked.get("run_id"),
        ))  # fmt: skip
    return Records(columns, rows, [[result] for _, result in collection.results])


def _records(
    dataset: DataSet, table: str
) -> tuple[tuple[Sequence[str], list[Sequence[Any]]], Sequence[Sequence[Result]]]:
    """The columns of :func:`csv_of_dataset` that belong to one of its tables, and the trainings behind each row."""
    columns, rows, trainings = csv_of_dataset(dataset)
    kept = [
        place
        for place, name in enumerate(columns)
        if place < 3 or name.startswith("rejection_") == (table == "rejections")
    ]
    return ([columns[place] for place in kept], [[row[place] for place in kept] for row in rows]), trainings


def _behind(entry: Entry, best: Entry) -> Cell:
    if entry is best:
        return Cell("–", 0.0, "the most accurate one")
    difference = accuracy_difference(best, entry)
    value, *uncertainty = with_uncertainties(100 * difference.value, 100 * difference.uncertainty)
    hint = f"{difference.sigma:.1f} standard deviations"
    return Cell(value, difference.value, hint, tuple(uncertainty))


def _cost_cells(entry: Entry) -> list[Cell]:
    if not entry.cost:
        return [Cell("not measured", None)] * 3
    flops = entry.cost["flops"]
    time = milliseconds_per_jet(entry)
    value, *uncertainty = with_uncertainties(time["median"], (time["high"] - time["low"]) / 2)
    memory = _memory_point(entry.cost)["peak_memory_mb"]
    return [
        Cell(scaled(flops), flops, f"{flops:,} FLOPs = {entry.cost['macs']:,} MACs"),
        Cell(value, time["median"], "median and central 68 %", tuple(uncertainty)),
        Cell("unknown" if memory is None else significant(memory, 2), memory),
    ]


def _memory_point(cost: dict[str, Any]) -> dict[str, Any]:
    """The point of the length scan that is nearest to the longest input of the data set."""
    longest = cost["latency"][0]["particles"]
    return min(cost["length_scan"], key=lambda point: abs(point["particles"] - longest))


def _latency_hint(cost: dict[str, Any], dataset: DataSet) -> str:
    point = max(cost["latency"], key=lambda item: item["batch_size"])
    return (
        f"batch {point['batch_size']}, {point['particles']} {dataset.particle}, {cost['hardware']['threads']} threads"
    )


def _seeds(entry: Entry) -> str:
    numbers = ", ".join(str(result.seed) for result in entry.results)
    return f"seed{'s' if len(entry.results) > 1 else ''} {numbers}"


def _mlflow(result: Result) -> Cell:
    tracked = result.training.get("mlflow") or {}
    if not tracked.get("run_id"):
        return Cell("not tracked", None)
    link, local = mlflow_link(tracked)
    hint = "start `jetloom mlflow ui` first" if local else ""
    return Cell(tracked["run_id"][:8], tracked["run_id"], hint, link=link)
