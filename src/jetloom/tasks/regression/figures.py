"""Pictures of the response: its distribution, and response and resolution against pT."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from jetloom.drawing.names import OBSERVERS
from jetloom.drawing.panels import context, legend
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.statistics.values import symmetric_interval
from jetloom.tasks.regression.response import bins, quantity, responses

WIDTHS = 4.0
"""The distribution is shown over so many times the widest resolution; the outermost bins hold what lies beyond."""
BINS = 60


def response(dataset: DataSet, looks: dict[str, Look]) -> Drawing:
    """Distribution of predicted / true, mean over seeds."""
    values = [result.metrics["values"] for entry in dataset.entries for result in entry.results]
    reach = WIDTHS * max(item["resolution"]["value"] + abs(item["bias"]["value"]) for item in values)
    edges = np.linspace(1 - reach, 1 + reach, BINS + 1)
    figure, axis = plt.subplots(figsize=(10.5, 4.4))
    rows: list[tuple[Any, ...]] = []
    for entry in dataset.entries:
        share, look = _shares(entry, quantity(dataset.task), edges), looks[entry.model]
        axis.stairs(share, edges, color=look.color, linestyle=look.line, linewidth=1.5)
        rows += [(entry.model, *point) for point in zip(edges[:-1], edges[1:], share, strict=True)]
    axis.axvline(1, color="0.6", linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_ylim(bottom=0)
    axis.set_xlabel("Response, predicted / true", loc="center")
    axis.set_ylabel(f"Share of {dataset.words.things} per bin", loc="center")
    legend(figure, dataset, looks, "line")
    context(figure, dataset)
    return Drawing(figure, ("model", "low_edge", "high_edge", "share"), rows)


def response_vs_pt(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Median response in bins of pT, with bands of jets and seeds."""
    return _against(dataset, looks, "bias", 1.0, "Median response, predicted / true")


def resolution_vs_pt(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Resolution in bins of pT, with bands of jets and seeds."""
    return _against(dataset, looks, "resolution", 0.0, "Resolution, half-width of the central 68 %")


def _shares(entry: Entry, predicted: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = []
    for result in entry.results:
        values = np.clip(responses(result, predicted), edges[0], edges[-1])
        counts.append(np.histogram(values, edges)[0] / len(values))
    shares: NDArray[np.float64] = np.mean(counts, axis=0)
    return shares


def _against(dataset: DataSet, looks: dict[str, Look], name: str, offset: float, label: str) -> Drawing | None:
    """A figure of merit plus ``offset`` against the observer of the bins."""
    if not any(bins(entry, name) for entry in dataset.entries):
        return None
    figure, axis = plt.subplots(figsize=(10.5, 4.4))
    rows: list[tuple[Any, ...]] = []
    for entry in dataset.entries:
        look, found = looks[entry.model], [(item, item.value) for item in bins(entry, name) if item.value]
        centres = [(item.low + item.high) / 2 for item, _ in found]
        middle = [offset + value.number for _, value in found]
        ends = [symmetric_interval(value) for _, value in found]
        axis.plot(centres, middle, color=look.color, marker=look.marker, linestyle=look.line)
        axis.fill_between(
            centres, [offset + low for low, _ in ends], [offset + high for _, high in ends], color=look.color,
            alpha=0.18, linewidth=0,
        )  # fmt: skip
        rows += [
            (entry.model, item.low, item.high, item.jets, center, low + offset, high + offset, value.spread)
            for (item, value), center, (low, high) in zip(found, middle, ends, strict=True)
        ]
    for item in bins(dataset.entries[0], name)[1:]:
        axis.axvline(item.low, color="0.9", linewidth=0.7, zorder=0)
    if offset:
        axis.axhline(offset, color="0.6", linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
    else:
        axis.set_ylim(bottom=0)
    observer = dataset.first["bins"]["observer"]
    axis.set_xlabel(OBSERVERS[observer][0] if observer in OBSERVERS else observer, loc="center")
    axis.set_ylabel(label, loc="center")
    legend(figure, dataset, looks, "marker")
    context(figure, dataset)
    columns = ("model", "low_edge", "high_edge", "jets", name if not offset else "response", "low", "high",
               "seed_spread")  # fmt: skip
    return Drawing(figure, columns, rows)
