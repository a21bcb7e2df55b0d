"""Tables of papers rebuilt: each published line beside the training of ours that may repeat it."""

import math
from dataclasses import dataclass

from scipy.special import gammaincinv

from jetloom.report.papers.comparability import differences
from jetloom.report.papers.flops import profiler_flops
from jetloom.report.papers.published import Printed, PublishedTable, Row, names, published
from jetloom.results.collection import Collection, DataSet, Entry
from jetloom.results.cost import device_hours, longest_input
from jetloom.results.over_seeds import over_seeds
from jetloom.statistics.values import Value, apart, symmetric_interval
from jetloom.tasks.classification.over_seeds import combined_interval, mean_rejection_over_seeds, rejection_at

SHARES = ("accuracy", "auc")


@dataclass(frozen=True)
class Line:
    """A published row and our model of the same name, if there is one."""

    name: str
    row: Row
    dataset: DataSet | None
    entry: Entry | None
    differences: tuple[str, ...]
    """In what ours is not like the published one; empty and an entry: it repeats it."""

    @property
    def alike(self) -> bool:
        """Whether ours is like with like."""
        return self.entry is not None and not self.differences


@dataclass(frozen=True)
class Rebuilt:
    """A table of a paper with our results."""

    name: str
    table: PublishedTable
    lines: list[Line]

    @property
    def performance(self) -> list[str]:
        """Metrics with an uncertainty."""
        return [metric for metric in self.table.metrics if metric in SHARES or metric.startswith("rejection")]


def rebuild(collection: Collection) -> list[Rebuilt]:
    """The published tables of which this collection has at least one row, in their order by name.

    A row and a model belong together by the name of the model and by the data set, the one of that name or one made
    from that preset. Of several that would do, the one with the fewest differences is taken. That they have the same
    name means nothing yet: ``differences`` says whether they can be compared.
    """
    found = []
    for name in names():
        table = published(name)
        lines = [_line(table, key, row, collection) for key, row in table.rows.items()]
        if any(line.entry for line in lines):
            found.append(Rebuilt(name, table, lines))
    return found


def measured(entry: Entry, dataset: DataSet, metric: str) -> Value | None:
    """Our value of a metric with its uncertainties; None: not measured.

    ``rejection_<class>`` is at the working point of the data set, ``rejection_<per cent>`` that of the only signal
    class at a signal efficiency, ``rejection_mean`` as in the SAL-T paper.
    """
    if metric in SHARES:
        return over_seeds(entry, metric)
    if metric == "rejection_mean":
        return mean_rejection_over_seeds(entry)
    if metric.startswith("rejection_"):
        points = dataset.first["values"]["rejection"]
        what = metric.removeprefix("rejection_")
        if what in points:
            return rejection_at(entry, what, points[what]["efficiency"])
        if what.isdigit() and len(points) == 1:
            return rejection_at(entry, next(iter(points)), int(what) / 100)
        return None
    value = _counted(entry, dataset, metric)
    return None if value is None else Value(value, None, None, None, len(entry.results))


def _counted(entry: Entry, dataset: DataSet, metric: str) -> float | None:
    """Numbers without an uncertainty."""
    manifest, cost = dataset.manifest, entry.cost
    training = entry.results[0].training
    match metric:
        case "parameters":
            return entry.parameters
        case "device_hours":
            return device_hours(entry)
        case "profiler_flops":
            inputs = manifest["max_particles"], len(manifest["features"]), len(manifest["classes"])
            return profiler_flops(training["architecture"], training["options"], *inputs)
        case "macs" | "flops_50" | "flops" if cost:
            at = {item["particles"]: item["flops"] for item in cost.get("flops_at", [])}
            wanted = {"macs": 128, "flops_50": 50, "flops": cost["flops_particles"]}[metric]
            flops = at.get(wanted, cost["flops"] if cost["flops_particles"] == wanted else None)
            return flops // 2 if flops is not None and metric == "macs" else flops
        case "peak_memory_mb" if cost:
            memory: float | None = longest_input(cost)["peak_memory_mb"]
            return memory
    return None


def made_from(entry: Entry, metric: str) -> tuple[str, ...]:
    """Roles of the files that :func:`measured` reads a metric from."""
    match metric:
        case "parameters":
            return ("costs",) if entry.cost else ("training",)
        case "device_hours" | "profiler_flops":
            return ("training",)
        case "macs" | "flops_50" | "flops" | "peak_memory_mb":
            return ("costs",)
    return ("metrics",)


def pull(ours: Value, theirs: Printed, metric: str, table: PublishedTable, test_jets: int) -> float | None:
    """Ours less published, in units of the combined uncertainty.

    Ours has that of the test jets and of the mean over seeds. The published one has the spread that is printed; where
    none is, the fluctuation of its test jets (for rejections from the background jets that survive, Garwood's
    interval), and in any case what the rounding hides. That both used the same test jets is not taken off, so the
    result is rather too small.

    Returns:
        None: one of the two is only a limit, or its uncertainty is unknown.
    """
    if ours.value is None or ours.low is None or ours.high is None:
        return None
    low, high = combined_interval(ours) if metric.startswith("rejection") else symmetric_interval(ours)
    if high is None:
        return None
    theirs_interval = published_interval(ours, theirs, metric, table, test_jets)
    return apart((ours.value, low, high), (theirs.value, *theirs_interval))


def published_interval(
    ours: Value, theirs: Printed, metric: str, table: PublishedTable, test_jets: int
) -> tuple[float, float]:
    """Ends of the published value's uncertainty, as :func:`pull` takes it."""
    if theirs.spread is not None:
        low = high = theirs.spread
    elif metric.startswith("rejection") and metric != "rejection_mean" and table.background:
        count = table.background / theirs.value
        fewer, more = garwood(count)
        low, high = theirs.value - table.background / more, table.background / fewer - theirs.value
    else:
        low = high = (ours.statistical or 0.0) * math.sqrt(test_jets / table.test)
    return theirs.value - math.hypot(low, theirs.rounding), theirs.value + math.hypot(high, theirs.rounding)


def garwood(count: float, confidence: float = 0.68) -> tuple[float, float]:
    """Central interval of a Poisson mean after ``count`` events; F. Garwood, Biometrika 28 (1936) 437."""
    tail = (1 - confidence) / 2
    low = float(gammaincinv(count, tail)) if count > 0 else 0.0
    return low, float(gammaincinv(count + 1, 1 - tail))


def _line(table: PublishedTable, name: str, row: Row, collection: Collection) -> Line:
    if row.model is None:
        return Line(name, row, None, None, ())
    wanted = row.dataset or table.dataset
    candidates = [
        (tuple(differences(table, row, entry, dataset.manifest)), dataset, entry)
        for dataset in collection.datasets
        if dataset.task.name == "classification" and dataset.evaluated
        for entry in dataset.entries
        if entry.model == (row.run or name) and wanted in (dataset.name, dataset.manifest["dataset"])
    ]
    if not candidates:
        return Line(name, row, None, None, ())
    found, dataset, entry = min(candidates, key=lambda item: len(item[0]))
    return Line(name, row, dataset, entry, found)
