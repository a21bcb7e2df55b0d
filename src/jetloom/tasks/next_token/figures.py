"""Pictures of generated jets beside those that they should be like."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.drawing.numbers import significant
from jetloom.drawing.panels import context, linear_bins, panels
from jetloom.drawing.style import PALETTE, Drawing, Look
from jetloom.results.collection import DataSet, Entry, Made

AXES = {
    "mass": "Mass [GeV]",
    "pt": r"$p_\mathrm{T}$ [GeV]",
    "multiplicity": "Particles",
    "tau21": r"$\tau_{21}$",
    "tau32": r"$\tau_{32}$",
    "d2": r"$D_2$",
}
BINS = 24
RATIO = (0.5, 1.5)


def made_by(dataset: DataSet) -> Iterator[tuple[Entry, Made]]:
    """Generated data sets of the first seed that has any, with the generator that made each."""
    for entry in dataset.entries:
        made = next((result.made for result in entry.results if result.made), ())
        yield from ((entry, item) for item in made)


def generated(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Observables of generated jets over those of the reference."""
    known = list(made_by(dataset))
    if not known:
        return None
    figure, axes = panels(2 * len(AXES), 3.5, 2.3, columns=3)
    # Each panel has its ratio below it: rows 0 and 2 are observables, 1 and 3 ratios.
    places = [(axes[row * 6 + column], axes[row * 6 + 3 + column]) for row in range(2) for column in range(3)]
    rows: list[tuple[Any, ...]] = []
    for (axis, below), (name, text) in zip(places, AXES.items(), strict=True):
        _, reference = known[0][1].observables(name)
        if len(reference) < 2:
            continue
        edges = linear_bins(reference.astype(float), BINS, whole=name == "multiplicity")
        truth, error = _share(reference, edges)
        axis.stairs(truth, edges, fill=True, color="0.85")
        below.fill_between(
            np.repeat(edges, 2)[1:-1], np.repeat(1 - error, 2), np.repeat(1 + error, 2), color="0.85", linewidth=0
        )
        rows += [(name, "reference", *row) for row in zip(edges[:-1], edges[1:], truth, error, strict=True)]
        for place, (entry, made) in enumerate(known):
            look = looks[entry.model]
            color = look.color if len({item.model for item, _ in known}) == len(known) else PALETTE[place]
            ours, _ = made.observables(name)
            share, own = _share(ours, edges)
            figures = made.closeness["observables"][name]
            told = "" if figures["ratio"] is None else f"W1 / floor {significant(figures['ratio'], 2)}"
            axis.stairs(share, edges, color=color, linewidth=1.4, label=told)
            ratio = np.divide(share, truth, out=np.full_like(share, np.nan), where=truth > 0)
            middle = (edges[1:] + edges[:-1]) / 2
            below.errorbar(middle, ratio, yerr=ratio * own, color=color, linestyle="none", marker=look.marker,
                           markersize=3, elinewidth=0.8)  # fmt: skip
            rows += [(name, made.closeness["set"], *row) for row in zip(edges[:-1], edges[1:], share, own, strict=True)]
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(bottom=0)
        axis.set_xticklabels([])
        axis.legend(fontsize=8.5, handlelength=1.2)
        below.axhline(1, color="0.6", linewidth=0.8, linestyle=(0, (1, 2)))
        below.set_xlim(edges[0], edges[-1])
        below.set_ylim(*RATIO)
        below.set_xlabel(text, loc="center")
    names = [(f"{made.closeness['title']}", looks[entry.model]) for entry, made in known]
    handles: list[Any] = [axes[0].stairs([0], [0, 1], fill=True, color="0.85")]
    handles += [axes[0].plot([], [], color=look.color)[0] for _, look in names]
    titles = [known[0][1].closeness["reference_title"], *(title for title, _ in names)]
    figure.legend(handles, titles, loc="outside upper center", ncols=2)
    figure.supylabel("Share per bin, and ratio to the reference", fontsize=12)
    context(figure, dataset)
    return Drawing(figure, ("observable", "set", "low_edge", "high_edge", "share", "relative_error"), rows)


def _share(values: NDArray[np.float32], edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares per bin, the outermost bins holding what lies beyond, and their relative statistical errors."""
    inside = np.clip(values.astype(float), edges[0], np.nextafter(edges[-1], edges[0]))
    counts = np.histogram(inside, edges)[0].astype(float)
    return counts / max(counts.sum(), 1), 1 / np.sqrt(np.maximum(counts, 1))
