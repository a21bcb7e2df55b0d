"""A few jets or clouds themselves: the partitions they are cut into, and the particles that a network looks at."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jetloom.drawing.names import in_figure
from jetloom.drawing.panels import context
from jetloom.drawing.style import MARKERS, PALETTE, Drawing, Look
from jetloom.results.collection import DataSet, Entry

COLUMNS = 5
"""Jets in a figure; they are taken evenly from the list of classes."""
STRONGEST = 4.0
"""Weights are shown from a fourth of an even share among the particles to four times one."""
LARGEST = 170.0
"""Area of the marker of the hardest particle, square points."""


def partitions(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """The partitions of the networks that have some, particle by particle."""
    del looks
    entries = [entry for entry in _with_examples(dataset) if _content(entry)["partitions"]]
    if not entries:
        return None
    number = max(_content(entry)["partitions"] for entry in entries)
    figure, grid, jets = _grid(dataset, entries)
    rows: list[tuple[Any, ...]] = []
    for entry, line in zip(entries, grid, strict=True):
        for axis, jet in zip(line, _shown(entry, jets), strict=True):
            places, partition = np.array(jet["coordinates"]), np.array(jet["partition"])
            area = _area(jet)
            for index in np.unique(partition):
                chosen = partition == index
                # In print and for every kind of colour vision: each partition has its own marker too.
                _scatter(
                    axis, jet, places[chosen], s=area[chosen], color=PALETTE[index % len(PALETTE)],
                    marker=MARKERS[index % len(MARKERS)], edgecolors="white", linewidths=0.4, alpha=0.9,
                )  # fmt: skip
            rows += _rows(dataset, entry, jet, partition.tolist())
    handles = [
        Line2D([], [], color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)], linestyle="none")
        for index in range(number)
    ]
    names = [f"partition {index + 1}" for index in range(number)]
    figure.legend(handles, names, loc="outside upper center", ncols=min(number, 8))
    context(figure, dataset, in_margin=True)
    return Drawing(figure, (*_columns(dataset), "partition"), rows)


def attention(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """What the class token or the pooled output of each network takes from each particle."""
    del looks
    entries = [entry for entry in _with_examples(dataset) if _content(entry)["looks"]]
    if not entries:
        return None
    figure, grid, jets = _grid(dataset, entries)
    rows: list[tuple[Any, ...]] = []
    images: list[PathCollection] = []
    norm = LogNorm(1 / STRONGEST, STRONGEST)
    for entry, line in zip(entries, grid, strict=True):
        for axis, jet in zip(line, _shown(entry, jets), strict=True):
            share = np.array(jet["weight"]) / np.sum(jet["weight"])
            times = len(share) * share
            # What is looked at most is drawn last.
            order = np.argsort(times)
            places = np.array(jet["coordinates"])[order]
            images.append(_scatter(
                axis, jet, places, s=_area(jet)[order], c=times[order], cmap="PuOr", norm=norm, edgecolors="0.3",
                linewidths=0.4,
            ))  # fmt: skip
            rows += _rows(dataset, entry, jet, share.tolist(), _content(entry)["looks"])
    bar = figure.colorbar(images[-1], ax=figure.axes, shrink=0.8, aspect=18 * len(entries), pad=0.01, extend="both")
    bar.set_label("Weight over an even share", fontsize=11)
    bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["1/4", "1/2", "1", "2", "4"])
    bar.ax.tick_params(labelsize=9, which="both", length=0)
    bar.ax.minorticks_off()
    context(figure, dataset, in_margin=True)
    return Drawing(figure, (*_columns(dataset), "share", "of"), rows)


def _with_examples(dataset: DataSet) -> list[Entry]:
    return [entry for entry in dataset.entries if entry.results[0].examples]


def _content(entry: Entry) -> dict[str, Any]:
    """Examples of the first seed."""
    content = entry.results[0].examples
    assert content is not None
    return content


def _shown(entry: Entry, classes: list[str]) -> list[dict[str, Any]]:
    by_class = {jet["class"]: jet for jet in _content(entry)["jets"]}
    return [by_class[name] for name in classes]


def _grid(dataset: DataSet, entries: list[Entry]) -> tuple[Figure, list[list[Axes]], list[str]]:
    """A row of panels for each model, a column for each jet; and the classes of the jets."""
    flat = dataset.manifest["kind"] == "jets"
    known = [jet["class"] for jet in _content(entries[0])["jets"]]
    classes = [known[round(place)] for place in np.linspace(0, len(known) - 1, min(COLUMNS, len(known)))]
    shape = (len(entries), len(classes))
    settings: dict[str, Any] = {"squeeze": False, "figsize": (10.8, 1.95 * len(entries) + 1.1)}
    if flat:
        figure, grid = plt.subplots(*shape, sharex=True, sharey=True, **settings)
    else:
        figure, grid = plt.subplots(*shape, subplot_kw={"projection": "3d"}, **settings)
    places = np.concatenate([jet["coordinates"] for jet in _shown(entries[0], classes)])
    # Single particles far from the axis would shrink all the rest.
    reach = 1.05 * np.quantile(np.abs(places).max(axis=1), 0.97 if flat else 1)
    for entry, line in zip(entries, grid, strict=True):
        for axis, name in zip(line, classes, strict=True):
            if entry is entries[0]:
                axis.set_title(in_figure(name), fontsize=11, pad=5)
            _frame(axis, reach, flat)
        if flat:
            line[0].set_ylabel(entry.title, loc="center", fontsize=11)
        else:
            line[0].text2D(-0.02, 0.5, entry.title, transform=line[0].transAxes, rotation=90, va="center", fontsize=11)
    if flat:
        figure.supxlabel(r"$\Delta\eta$ to the jet axis", fontsize=12)
        figure.supylabel(r"$\Delta\phi$ to the jet axis", fontsize=12)
    return figure, [list(line) for line in grid], classes


def _frame(axis: Any, reach: float, flat: bool) -> None:
    axis.minorticks_off()
    if flat:
        axis.set_xlim(-reach, reach)
        axis.set_ylim(-reach, reach)
        axis.set_aspect("equal")
        axis.tick_params(labelsize=8.5, length=3)
        axis.axhline(0, color="0.88", linewidth=0.7, zorder=0)
        axis.axvline(0, color="0.88", linewidth=0.7, zorder=0)
        return
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-reach, reach)
    axis.set_zlim(-reach, reach)
    axis.set_box_aspect((1, 1, 1), zoom=1.5)
    axis.view_init(elev=18, azim=-62)
    axis.set_axis_off()


def _scatter(axis: Any, jet: dict[str, Any], places: np.ndarray, **look: Any) -> PathCollection:
    """Particles on flat axes, points of a cloud in space, where depth changes no colour."""
    drawn: PathCollection = axis.scatter(*places.T, **look, **({} if jet["pt"] else {"depthshade": False}))
    return drawn


def _area(jet: dict[str, Any]) -> np.ndarray:
    """Marker areas: proportional to pT, but nothing vanishes; the points of a cloud are all alike."""
    if jet["pt"] is None:
        return np.full(len(jet["coordinates"]), 9.0)
    pt = np.array(jet["pt"])
    areas: np.ndarray = np.maximum(LARGEST * pt / pt.max(), 7.0)
    return areas


def _columns(dataset: DataSet) -> tuple[str, ...]:
    if dataset.manifest["kind"] == "jets":
        return ("class", "given_class", "row", "model", "deta", "dphi", "pt")
    return ("class", "given_class", "row", "model", "x", "y", "z")


def _rows(dataset: DataSet, entry: Entry, jet: dict[str, Any], values: list[Any], *more: str) -> list[tuple[Any, ...]]:
    flat = dataset.manifest["kind"] == "jets"
    who = (jet["class"], jet["given"], jet["row"], entry.model)
    pt = [(value,) for value in jet["pt"]] if flat else [()] * len(values)
    return [
        (*who, *place, *hard, value, *more) for place, hard, value in zip(jet["coordinates"], pt, values, strict=True)
    ]
