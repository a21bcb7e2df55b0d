"""How taggers improve with size: power laws against parameters, FLOPs, training jets and training time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

from jetloom.catalogue import cards
from jetloom.catalogue.options import defaults
from jetloom.drawing.cells import Cell, Records, Table, changed_footnote, made
from jetloom.drawing.numbers import significant, with_uncertainties
from jetloom.drawing.panels import context, legend
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.results.cost import device_hours
from jetloom.statistics.power_law import EXPONENTS, LEAST, Fitted, fit_over_seeds
from jetloom.tasks.classification.training_sizes import family, training_jets

CONFIDENCE = 0.68
CURVE = 60
"""Points at which a curve is drawn."""


class Quantity(NamedTuple):
    """What falls."""

    name: str
    title: str
    of: Callable[[Mapping[str, Any]], float]
    """From the ``values`` of one training."""


class Size(NamedTuple):
    """What it falls with."""

    name: str
    title: str
    of: Callable[[DataSet, Entry], float]
    roles: tuple[str, ...]
    """Of the files that it is read from."""


class Point(NamedTuple):
    """A tagger of some size."""

    dataset: DataSet
    entry: Entry


class Scan(NamedTuple):
    """Taggers that differ in one number."""

    title: str
    sizes: tuple[Size, ...]
    points: tuple[Point, ...]

    def at(self, size: Size) -> dict[float, Point]:
        """The points that have this size, by it, rising; of several of the same size the first."""
        known = [point for point in self.points if size.name != "flops" or point.entry.cost]
        found: dict[float, Point] = {}
        for point in known:
            found.setdefault(size.of(point.dataset, point.entry), point)
        return dict(sorted(found.items()))


class Law(NamedTuple):
    """One quantity of one scan against one size."""

    scan: Scan
    size: Size
    quantity: Quantity
    points: dict[float, Point]
    values: list[np.ndarray]
    """(k,) each: the quantity for all seeds of a point."""
    fitted: Fitted | None
    remark: str
    """Why there is no fit, or no interval; else nothing."""


QUANTITIES = (
    Quantity("wrong", "1 − accuracy", lambda values: 1 - values["accuracy"]["value"]),
    Quantity("outside", "1 − AUC", lambda values: 1 - values["auc"]["value"]),
    Quantity("loss", "Cross entropy [nats]", lambda values: values["loss"]["value"]),
)
PARAMETERS = Size("parameters", "Parameters", lambda _, entry: float(entry.parameters), ("training", "costs"))
FLOPS = Size("flops", "FLOPs of a jet", lambda _, entry: float(entry.costs["flops"]), ("costs",))
HOURS = Size("device_hours", "Device-hours of training", lambda _, entry: device_hours(entry), ("training",))
JETS = Size("training_jets", "Training jets", lambda dataset, _: float(training_jets(dataset)), ("training",))


def scans(dataset: DataSet, datasets: Sequence[DataSet]) -> Iterator[Scan]:
    """Taggers of one architecture that differ in one numeric option; and those trained on different numbers of jets.

    The latter belong to the largest of the data sets that differ in nothing else.
    """
    yield from _of_models(dataset.with_most_labels)
    members = family(dataset, [item.with_most_labels for item in datasets if item.evaluated])
    if members[-1].name != dataset.name:
        return
    by_model: dict[str, list[Point]] = {}
    for member in members:
        for entry in member.entries:
            by_model.setdefault(entry.model, []).append(Point(member, entry))
    for points in by_model.values():
        if len({training_jets(point.dataset) for point in points}) > 1:
            yield Scan(f"{points[-1].entry.title}, training jets", (JETS,), tuple(points))


def _of_models(dataset: DataSet) -> Iterator[Scan]:
    groups: dict[tuple[str, ...], dict[float, Entry]] = {}
    for entry in dataset.entries:
        facts = entry.results[0].training
        name = facts["architecture"]
        # The option of an architecture that is no longer there may have had any default.
        whole = (defaults(name) if name in cards.names("models") else {}) | facts["options"]
        for option, value in whole.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                rest = sorted((key, repr(other)) for key, other in whole.items() if key != option)
                groups.setdefault((name, option, repr(rest)), {}).setdefault(value, entry)
    for (name, option, _), entries in groups.items():
        if len(entries) > 1:
            title = cards.model_card(name).title if name in cards.names("models") else name
            points = tuple(Point(dataset, entry) for _, entry in sorted(entries.items()))
            yield Scan(f"{title}, {option.replace('_', ' ')}", (PARAMETERS, FLOPS, HOURS), points)


def laws(dataset: DataSet, datasets: Sequence[DataSet]) -> list[Law]:
    """Every law of a data set, fitted or with the reason why not."""
    return [
        _law(scan, size, quantity)
        for scan in scans(dataset, datasets)
        for size in scan.sizes
        if len(scan.at(size)) > 1
        for quantity in QUANTITIES
    ]


def _law(scan: Scan, size: Size, quantity: Quantity) -> Law:
    points = scan.at(size)
    values = [
        np.array([quantity.of(result.metrics["values"]) for result in point.entry.results]) for point in points.values()
    ]
    if len(points) < LEAST:
        return Law(scan, size, quantity, points, values, None, f"not fitted: {len(points)} points, {LEAST} are needed")
    if min(item.mean() for item in values) <= 0:
        return Law(scan, size, quantity, points, values, None, "not fitted: a value is zero")
    fitted = fit_over_seeds(list(points), values)
    if fitted is None:
        why = f"no power law with an exponent between {EXPONENTS[0]:g} and {EXPONENTS[1]:g}"
        return Law(scan, size, quantity, points, values, None, why)
    remark = "" if fitted.samples else "a point has one seed: no interval"
    return Law(scan, size, quantity, points, values, fitted, remark)


def drawing(dataset: DataSet, looks: dict[str, Look], datasets: Sequence[DataSet]) -> Drawing | None:
    """Quantities (rows) against sizes (columns), with the fitted laws; None where nothing was scanned."""
    found = laws(dataset, datasets)
    if not found:
        return None
    sizes = list(dict.fromkeys(law.size for law in found))
    figure, grid = plt.subplots(
        len(QUANTITIES), len(sizes), figsize=(3.5 * len(sizes) + 0.6, 8.6), squeeze=False, sharex="col", sharey="row"
    )
    rows: list[tuple[Any, ...]] = []
    for law in found:
        axis = grid[QUANTITIES.index(law.quantity)][sizes.index(law.size)]
        look, x = looks[_last(law).model], np.array(list(law.points))
        means = np.array([item.mean() for item in law.values])
        errors = np.array([item.std(ddof=1) / np.sqrt(len(item)) if len(item) > 1 else 0.0 for item in law.values])
        axis.errorbar(
            x, means, yerr=errors, color=look.color, marker=look.marker, linestyle="none", elinewidth=1.1, capsize=0
        )
        rows += [("point", *_names(law), *row) for row in zip(x, means, means - errors, means + errors, strict=True)]
        if law.fitted is None:
            continue
        curve = np.geomspace(x[0], x[-1], CURVE)
        y, band = law.fitted.law(curve), law.fitted.band(curve, CONFIDENCE)
        axis.plot(curve, y, color=look.color, linestyle=look.line, linewidth=1.3)
        if band:
            axis.fill_between(curve, *band, color=look.color, alpha=0.16, linewidth=0)
        low, high = band or ([None] * CURVE, [None] * CURVE)
        rows += [("law", *_names(law), *row) for row in zip(curve, y, low, high, strict=True)]
    for place, quantity in enumerate(QUANTITIES):
        grid[place][0].set_ylabel(quantity.title, loc="center")
        for axis in grid[place]:
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
    for axis, size in zip(grid[-1], sizes, strict=True):
        axis.set_xlabel(size.title, loc="center")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    titles = {_last(law).model: replace(_last(law), title=law.scan.title) for law in found}
    legend(figure, replace(dataset, entries=list(titles.values())), looks, "marker")
    context(figure, dataset)
    return Drawing(figure, ("kind", "scan", "quantity", "against", "x", "value", "low", "high"), rows)


def _names(law: Law) -> tuple[str, str, str]:
    return law.scan.title, law.quantity.name, law.size.name


def _last(law: Law) -> Entry:
    """The tagger whose look and row stand for the scan."""
    return law.scan.points[-1].entry


def table(dataset: DataSet, datasets: Sequence[DataSet]) -> Table | None:
    """The numbers of all laws; a scan of too few points is refused in words."""
    found = laws(dataset, datasets)
    if not found:
        return None
    names = ("Scan", "Quantity", "Against", "Points", "Limit", "B", "Exponent", "")
    hints = ("", "", "", "different sizes", "what is left at infinite size", "in the unit of x^exponent", "", "")
    rows, numbers, runs = [], [], []
    for law in found:
        entry = _last(law)
        parameters, ends = _numbers(law)
        rows.append((entry.model, [
            Cell(law.scan.title, law.scan.title.lower(), f"{len(law.points)} points"),
            Cell(law.quantity.title, law.quantity.name), Cell(law.size.title, law.size.name),
            Cell(str(len(law.points)), len(law.points)),
            *(_cell(value, end) for value, end in zip(parameters, ends, strict=True)),
            Cell(law.remark, law.remark),
        ]))  # fmt: skip
        told = [number for value, end in zip(parameters, ends, strict=True) for number in (value, *end)]
        numbers.append(
            [entry.model, *_names(law), len(law.points), *made(told, "metrics", *law.size.roles), law.remark]
        )
        runs.append([result for point in law.points.values() for result in point.entry.results])
    note = (
        "y = limit + B / x^exponent (arXiv:2608.02735), least squares of relative residuals to the means over seeds. ± "
        "half of the central 68 % of a bootstrap over the seeds of each point; all seeds see the same test "
        f"{dataset.words.things}, whose fluctuation is not in it. Fewer than {LEAST} sizes are not fitted."
    )
    columns = ["model", "scan", "quantity", "against", "points"]
    columns += [f"{name}{end}" for name in ("limit", "scale", "exponent") for end in ("", "_low", "_high")]
    entries = [point.entry for law in found for point in law.points.values()]
    return Table(
        "Power laws", note, [Cell(name, hint=hint) for name, hint in zip(names, hints, strict=True)], rows,
        changed_footnote(entries), Records([*columns, "remark"], numbers, runs),
    )  # fmt: skip


def _numbers(law: Law) -> tuple[Sequence[float | None], Sequence[Sequence[float | None]]]:
    """Limit, B and exponent, and the ends of their intervals."""
    unknown = [[None, None]] * 3
    if law.fitted is None:
        return [None] * 3, unknown
    intervals = law.fitted.intervals(CONFIDENCE)
    return law.fitted.law, unknown if intervals is None else [list(map(float, pair)) for pair in intervals]


def _cell(value: float | None, ends: Sequence[float | None]) -> Cell:
    if value is None:
        return Cell("–", None)
    low, high = ends
    if low is None or high is None:
        return Cell(significant(value), value)
    text, *uncertainty = with_uncertainties(value, (high - low) / 2)
    return Cell(text, value, f"68 %: {significant(low)} to {significant(high)}", tuple(uncertainty))
