"""What several figures share: grids of panels, the legend of the models, the line above the figure."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import LineStyleType

from jetloom.drawing.style import Look
from jetloom.results.collection import DataSet

SHOWN = ("jet_nparticles", "jet_pt", "jet_sdmass", "jet_mass")


def shown_observers(known: Iterable[str]) -> list[str]:
    """The three quantities that are shown: multiplicity, pT, and soft-drop mass rather than mass."""
    names = set(known)
    return [name for name in SHOWN if name in names][:3]


def panels(
    number: int, width: float, height: float, columns: int = 3, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A grid of panels of a size in inches; those of the last row that are not needed are removed."""
    columns = min(columns, number)
    rows = math.ceil(number / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(width * columns + 0.5, height * rows + 0.9),
        sharex=sharex,
        sharey=sharey,
        squeeze=False,
    )
    axes = list(grid.flat)
    if number > 3:
        # Many small panels: minor ticks would be clutter, and drawing them takes longer than all the rest.
        for axis in axes:
            axis.minorticks_off()
    for spare in axes[number:]:
        # The panel above the gap now carries the tick labels of its column.
        above = axes[axes.index(spare) - columns]
        above.tick_params(axis="x", labelbottom=True)
        spare.remove()
    return figure, axes[:number]


def legend(
    figure: Figure,
    dataset: DataSet,
    looks: dict[str, Look],
    kind: str,
    extra: Sequence[tuple[Any, str]] = (),
    solid: bool = False,
) -> None:
    """The models of a data set above the panels, in the order of the tables.

    Args:
        kind: ``line``, ``marker`` (line with marker), ``point`` (marker alone) or ``bar``.
        extra: handles and names that come after the models.
        solid: all lines are drawn solid, because dashes mean something else in this figure.
    """
    handles: list[Any] = []
    for entry in dataset.entries:
        look = looks[entry.model]
        if kind == "bar":
            handles.append(Patch(color=look.color))
        else:
            line: LineStyleType = "none" if kind == "point" else "-" if solid else look.line
            marker = look.marker if kind in ("marker", "point") else None
            handles.append(Line2D([], [], color=look.color, linestyle=line, marker=marker))
    names = [entry.title for entry in dataset.entries] + [name for _, name in extra]
    handles += [handle for handle, _ in extra]
    # Short names take about 1.45 inches; of long ones fewer fit into the width of the figure.
    columns = min(len(names), max(2, int(figure.get_figwidth() / 1.45)))
    while True:
        drawn = figure.legend(handles, names, loc="outside upper center", ncols=columns, columnspacing=1.6)
        if columns == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            return
        drawn.remove()
        columns -= 1


def context(figure: Figure, dataset: DataSet, in_margin: bool = False) -> None:
    """Which data a figure shows; in_margin: the place above the panels is taken by titles."""
    left = r"$\bf{jetloom}$" + ("  Simulation" if dataset.manifest["simulated"] else "")
    right = f"{dataset.name}, {dataset.jets:,} test {dataset.words.things}"
    if in_margin:
        engine = figure.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)  # publication_style
        engine.set(rect=(0, 0, 1, 1 - 0.32 / figure.get_figheight()))
        height = 1 - 0.06 / figure.get_figheight()
        figure.text(0.012, height, left, ha="left", va="top", fontsize=11)
        figure.text(0.988, height, right, ha="right", va="top", fontsize=11)
        return
    top = [axis for axis in figure.axes if (place := axis.get_subplotspec()) and place.is_first_row()]
    # Like the line of an experiment: at the upper edge of the frame, left and right.
    top[0].set_title(left, loc="left", fontsize=11)
    top[-1].set_title(right, loc="right", fontsize=11)


def linear_bins(values: np.ndarray, number: int, whole: bool = False) -> np.ndarray:
    """Edges of even bins over the central 99 % of the values; whole: edges between whole numbers."""
    low, high = np.quantile(values, [0.005, 0.995])
    if whole:
        step = max(1, math.ceil((high - low) / number))
        return np.arange(math.floor(low), high + step, step) - 0.5
    return np.linspace(low, high, number + 1)


def equal_count_bins(values: np.ndarray, number: int) -> np.ndarray:
    """Edges of bins that hold about the same number of values; fewer bins where values repeat."""
    return np.unique(np.quantile(values, np.linspace(0, 1, number + 1)))
