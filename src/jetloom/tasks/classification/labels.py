"""What pre-training buys: quality against the number of labelled jets, beside the same network from scratch."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from jetloom.drawing.cells import (
    PARTS,
    Cell,
    Records,
    Table,
    changed_footnote,
    difference_cell,
    made,
    model_cell,
    value_cell,
)
from jetloom.drawing.names import in_figure, in_text
from jetloom.drawing.numbers import significant
from jetloom.drawing.panels import context, legend
from jetloom.drawing.plots import Axis, Curve, Plot
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds
from jetloom.statistics.values import Difference, Value
from jetloom.tasks.classification.over_seeds import (
    combined_interval,
    paired_difference,
    rejection_difference,
    rejection_over_seeds,
)
from jetloom.tasks.classification.training_sizes import training_jets

COLUMNS = ("quantity", "arm", "labelled_jets", "value", "low", "high", "seed_spread", "scratch", "difference",
           "uncertainty")  # fmt: skip


class Arm(NamedTuple):
    """A way to train a network, at several numbers of labelled jets."""

    name: str
    title: str
    points: dict[int, Entry]
    """By number of labelled jets, rising."""

    @property
    def pretrained(self) -> bool:
        """Whether it starts from other weights, or keeps those of its encoder."""
        recipe = next(iter(self.points.values())).results[0].training["training"]
        return bool(recipe.get("initial_weights") or recipe.get("freeze"))

    @property
    def network(self) -> tuple[str, object]:
        """Architecture and options."""
        facts = next(iter(self.points.values())).results[0].training
        return facts["architecture"], facts["options"]


def arms(dataset: DataSet) -> list[Arm]:
    """The models that a data set has at several numbers of labelled jets."""
    found: dict[str, Arm] = {}
    for entry in sorted(dataset.entries, key=lambda entry: _labelled(dataset, entry)):
        name, title = entry.arm
        found.setdefault(name, Arm(name, title, {})).points[_labelled(dataset, entry)] = entry
    order = list(dict.fromkeys(entry.arm[0] for entry in dataset.entries))
    return [found[name] for name in order if len(found[name].points) > 1]


def scratch_of(arm: Arm, others: Sequence[Arm]) -> Arm | None:
    """The same network from scratch; None: there is none, or it is this one."""
    same = (other for other in others if not other.pretrained and other.network == arm.network)
    return next(same, None) if arm.pretrained else None


def _labelled(dataset: DataSet, entry: Entry) -> int:
    if entry.labels is None:
        return training_jets(dataset)
    return entry.labels // len(dataset.classes) * len(dataset.classes)


class Ratio(NamedTuple):
    """How many times as many labels a training from scratch needs for the same accuracy, with its interval."""

    value: float
    low: float
    high: float
    limit: str
    """``>`` or ``<``: the scan from scratch ends before it comes there; else empty."""


def label_ratio(accuracy: Value, labels: int, scratch: Sequence[tuple[int, float]]) -> Ratio:
    """N from scratch over N, at the accuracy of N labels.

    Args:
        accuracy: with N labels.
        labels: N.
        scratch: number of labels and accuracy from scratch, by rising number; between them the accuracy is linear in
            log N, and one that falls again does not count.
    """
    assert accuracy.value is not None
    # The fewest labels that reach each accuracy.
    reached, first = np.unique(np.maximum.accumulate([value for _, value in scratch]), return_index=True)
    numbers = np.array([number for number, _ in scratch])[first]
    error = accuracy.combined or 0.0

    def needed(value: float) -> float:
        return float(np.exp(np.interp(value, reached, np.log(numbers)))) / labels

    limit = ">" if accuracy.value > reached[-1] else "<" if accuracy.value < reached[0] else ""
    return Ratio(needed(accuracy.value), needed(accuracy.value - error), needed(accuracy.value + error), limit)


def table_of_labels(dataset: DataSet) -> Table | None:
    """Accuracy of each arm at each number of labelled jets, and what that is worth in labels from scratch."""
    shown = arms(dataset)
    if not shown:
        return None
    rows, records, runs = [], [], []
    for arm in shown:
        scratch = scratch_of(arm, shown)
        for number, entry in arm.points.items():
            accuracy = over_seeds(entry, "accuracy")
            own = scratch.points.get(number) if scratch else None
            difference = paired_difference(entry, own) if own else None
            ratio = label_ratio(accuracy, number, _curve(scratch)) if scratch else None
            rows.append((entry.model, [
                replace(model_cell(entry), text=arm.title),
                Cell(f"{number:,}" + (" (all)" if entry.labels is None else ""), number),
                value_cell(accuracy),
                difference_cell(difference, 100) if difference else Cell("–", None),
                _ratio_cell(ratio),
            ]))  # fmt: skip
            numbers = [number, *accuracy[:4], *(difference or (None, None)), *(ratio or (None,) * 4)]
            named = (entry.model, arm.name, scratch.name if scratch else "")
            records.append((*named, *made(numbers, "metrics", "predictions")))
            runs.append([*entry.results, *(own.results if own else [])])
    thing, things = dataset.words.thing, dataset.words.things
    note = (
        f"Labels of so many training {things}, equally many of each class, drawn anew for each seed, the fewer among "
        f"the more. ± test {things} ± seeds. Difference: to the same network from scratch with the same labels, "
        f"paired by seed and by {thing}. Label ratio: how many times as many labels the network from scratch "
        f"needs for this accuracy, between its points linear in log N. {_validated(dataset)}"
    )
    columns = [
        Cell("Tagger"),
        Cell("Labels"),
        Cell("Accuracy"),
        Cell("Over scratch [points]"),
        Cell("Label ratio", hint="68 % interval from that of the accuracy"),
    ]
    of_accuracy = [f"accuracy{part}" for part in PARTS]
    of_ratio = ("label_ratio", "label_ratio_low", "label_ratio_high", "limit")
    names = ("model", "arm", "scratch", "labelled_jets", *of_accuracy, "difference", "uncertainty", *of_ratio)
    entries = [entry for arm in shown for entry in arm.points.values()]
    return Table(f"Accuracy by labelled {things}", note, columns, rows, changed_footnote(entries),
                 Records(names, records, runs))  # fmt: skip


def _curve(arm: Arm) -> list[tuple[int, float]]:
    return [(number, over_seeds(entry, "accuracy").value or 0.0) for number, entry in arm.points.items()]


def _ratio_cell(ratio: Ratio | None) -> Cell:
    if ratio is None:
        return Cell("–", None)
    low, value, high = (significant(item, 2) for item in (ratio.low, ratio.value, ratio.high))
    if ratio.limit:
        return Cell(f"{ratio.limit} {value}", ratio.value, "beyond what was trained from scratch")
    return Cell(value, ratio.value, f"{low} to {high}")


def _validated(dataset: DataSet) -> str:
    """Which validation jets chose the best epochs."""
    recipes = [entry.results[0].training["training"] for entry in dataset.entries if entry.labels is not None]
    scaled = [item.get("validation") == "scaled" and not item.get("validation_samples") for item in recipes]
    things = dataset.words.things
    if all(scaled):
        return (
            f"Validation {things}: a quarter as many, at least 10 of each class, so that they bring no more labels in."
        )
    return f"Validation {things}: not fewer with fewer labels, so that the best epoch is chosen by labels beside these."


def labels(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Wrong answers and rejections of two classes against the labelled jets; below, differences to scratch."""
    shown = arms(dataset)
    if not shown:
        return None
    entries = [entry for arm in shown for entry in arm.points.values()]
    points = dataset.first["values"]["rejection"] if dataset.first["background"] else {}
    signals = [name for name in points if all(rejection_over_seeds(entry, name).value for entry in entries)][:2]
    figure, axes = plt.subplots(
        2, 1 + len(signals), figsize=(3.8 * (1 + len(signals)) + 0.4, 5.6), squeeze=False, sharex=True,
        height_ratios=[3, 2],
    )  # fmt: skip
    rows: list[list[object]] = []
    plots: list[Plot] = []
    for place, signal in enumerate([None, *signals]):
        upper, lower = axes[:, place]
        lower.axhline(0, color="0.4", linewidth=0.9)
        curves, gains = [], []
        for arm in shown:
            look = looks[_last(arm).model]
            scratch = scratch_of(arm, shown)
            values = {number: _value(entry, signal) for number, entry in arm.points.items()}
            curves += _band(
                upper, look, arm, {number: (value.number, *_ends(value, signal)) for number, value in values.items()}
            )
            differences = _differences(arm, scratch, signal) if scratch else {}
            gains += _band(lower, look, arm, {
                number: (item.value, item.value - item.uncertainty, item.value + item.uncertainty)
                for number, item in differences.items()
            })  # fmt: skip
            rows += [
                [f"rejection_{signal}" if signal else "wrong_percent", arm.name, number, *value[:4],
                 scratch.name if scratch else "", *differences.get(number, (None, None))]
                for number, value in values.items()
            ]  # fmt: skip
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        upper.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        upper.yaxis.set_minor_formatter(NullFormatter())
        upper.set_ylabel(f"Rejection, {in_figure(signal)}" if signal else "Wrong answers [%]", loc="center")
        lower.set_ylabel("Difference to scratch" + ("" if signal else "\n[points]"), loc="center")
        lower.set_xlabel(f"Labelled training {dataset.words.things}", loc="center")
        _ticks(lower, dataset, entries)
        against = Axis(f"Labelled training {dataset.words.things}", log=True)
        name = f"Rejection, {in_text(signal)}" if signal else "Wrong answers [%]"
        plots.insert(place, Plot("", against, Axis(name, log=True), curves, "marked"))
        difference = Axis("Difference to scratch" + ("" if signal else " [points]"))
        plots += [Plot("", against, difference, gains, "marked")] if gains else []
    legend(figure, replace(dataset, entries=[_last(arm) for arm in shown]), looks, "marker")
    context(figure, dataset)
    return Drawing(figure, COLUMNS, rows, plots)


def _last(arm: Arm) -> Entry:
    return replace(next(reversed(arm.points.values())), title=arm.title)


def _value(entry: Entry, signal: str | None) -> Value:
    """Rejection of a class, or the share of wrong answers in percent."""
    if signal:
        return rejection_over_seeds(entry, signal)
    right = over_seeds(entry, "accuracy")
    assert right.value is not None and right.low is not None and right.high is not None
    spread = None if right.spread is None else 100 * right.spread
    return Value(100 * (1 - right.value), 100 * (1 - right.high), 100 * (1 - right.low), spread, right.seeds)


def _ends(value: Value, signal: str | None) -> tuple[float, float]:
    """The interval of jets and seeds together."""
    assert value.value is not None
    if signal:
        low, high = combined_interval(value)
        return low, high or 2 * value.value
    error = value.combined or 0.0
    return value.value - error, value.value + error


def _differences(arm: Arm, scratch: Arm, signal: str | None) -> dict[int, Difference]:
    """By number of labelled jets: wrong answers (in points) or rejection, less those from scratch."""
    found = {}
    for number, entry in arm.points.items():
        if number not in scratch.points:
            continue
        other = scratch.points[number]
        if signal:
            difference = rejection_difference(*(rejection_over_seeds(item, signal) for item in (entry, other)))
        else:
            right = paired_difference(entry, other)
            difference = right and Difference(-100 * right.value, 100 * right.uncertainty)
        if difference:
            found[number] = difference
    return found


def _band(axis: Axes, look: Look, arm: Arm, points: dict[int, tuple[float, float, float]]) -> list[Curve]:
    """Draw an arm, value and interval at each number of labelled jets; the same as a curve, none without points."""
    if not points:
        return []
    middle, low, high = zip(*points.values(), strict=True)
    axis.plot(list(points), middle, color=look.color, marker=look.marker, linestyle=look.line)
    axis.fill_between(list(points), low, high, color=look.color, alpha=0.16, linewidth=0)
    return [Curve(_last(arm).model, arm.title, list(points), middle, low, high)]


def _ticks(axis: Axes, dataset: DataSet, entries: Sequence[Entry]) -> None:
    """A tick at each number; the last one says that it is all."""
    names = {_labelled(dataset, entry): "" if entry.labels else "\nall" for entry in entries}
    numbers = sorted(names)
    axis.set_xscale("log")
    axis.set_xlim(numbers[0] / math.sqrt(2), numbers[-1] * math.sqrt(2))
    axis.xaxis.set_major_locator(FixedLocator(numbers))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{number:,}{names[number]}" for number in numbers]))
    axis.xaxis.set_minor_locator(NullLocator())
