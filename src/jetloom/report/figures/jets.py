"""The jets themselves, and how the accuracy depends on them."""

import math

import numpy as np

from jetloom.drawing.names import OBSERVERS, in_figure
from jetloom.drawing.panels import context, equal_count_bins, legend, linear_bins, panels
from jetloom.drawing.style import PALETTE, Drawing, Look
from jetloom.results.collect import DataSet

SHOWN = ("jet_nparticles", "jet_pt", "jet_sdmass", "jet_mass")


def _observers(dataset: DataSet) -> list[str]:
    """The three quantities that are shown: multiplicity, pT, and soft-drop mass rather than mass."""
    known = dataset.entries[0].results[0].predictions.observers
    return [name for name in SHOWN if name in known][:3]


def observables(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Multiplicity, pT and mass of the test jets of each class."""
    del looks
    names = _observers(dataset)
    if not names:
        return None
    predictions = dataset.entries[0].results[0].predictions
    label = predictions.label
    figure, axes = panels(len(names), 3.5, 3.4)
    rows = []
    for axis, name in zip(axes, names, strict=True):
        values = predictions.observers[name].astype(float)
        edges = linear_bins(values, 18, whole=name == "jet_nparticles")
        for index, kind in enumerate(dataset.classes):
            chosen = values[label == index]
            share = np.histogram(chosen, edges)[0] / max(len(chosen), 1)
            # Ten classes: five line styles tell apart what colours alone would not in print.
            axis.stairs(
                share, edges, color=PALETTE[index % len(PALETTE)], linewidth=1.3,
                linestyle="-" if index < 5 else (0, (4, 1.2)), label=in_figure(kind),
            )  # fmt: skip
            rows += [
                (name, kind, edges[place], edges[place + 1], share[place], len(chosen)) for place in range(len(share))
            ]
        axis.set_xlabel(OBSERVERS[name][0], loc="center")
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("Share of the class per bin", loc="center")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, columnspacing=1.6)
    context(figure, dataset)
    return Drawing(figure, ("quantity", "class", "low_edge", "high_edge", "share", "jets_of_class"), rows)


def dependence(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Accuracy in bins of multiplicity, pT and mass, as far as they differ between jets."""
    observers = dataset.entries[0].results[0].predictions.observers
    names = [name for name in _observers(dataset) if np.ptp(observers[name]) > 0]
    if not names:
        return None
    figure, axes = panels(len(names), 3.5, 3.4, sharey=True)
    rows = []
    for axis, name in zip(axes, names, strict=True):
        values = observers[name].astype(float)
        edges = equal_count_bins(values, 6)
        inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        jets = np.bincount(inside, minlength=len(edges) - 1)
        centres = np.array([values[inside == index].mean() for index in range(len(jets))])
        width = edges[-1] - edges[0]
        for place, entry in enumerate(dataset.entries):
            look = looks[entry.model]
            shares = np.array([
                np.bincount(inside, weights=result.predictions.correct, minlength=len(jets)) / jets
                for result in entry.results
            ])  # fmt: skip
            mean = shares.mean(axis=0)
            statistical = np.sqrt(mean * (1 - mean) / jets)
            scatter = shares.std(axis=0, ddof=1) / math.sqrt(len(shares)) if len(shares) > 1 else 0 * mean
            error = np.hypot(statistical, scatter)
            shift = (place - (len(dataset.entries) - 1) / 2) * 0.008 * width
            axis.errorbar(
                centres + shift, mean, yerr=error, color=look.color, marker=look.marker, linestyle=look.line,
                linewidth=1.2, elinewidth=1, capsize=0,
            )  # fmt: skip
            rows += [
                (name, entry.model, edges[index], edges[index + 1], centres[index], int(jets[index]), mean[index],
                 error[index])
                for index in range(len(jets))
            ]  # fmt: skip
        for edge in edges[1:-1]:
            axis.axvline(edge, color="0.9", linewidth=0.7, zorder=0)
        axis.set_xlabel(OBSERVERS[name][0], loc="center")
    axes[0].set_ylabel("Accuracy", loc="center")
    legend(figure, dataset, looks, "marker")
    context(figure, dataset)
    columns = ("quantity", "model", "low_edge", "high_edge", "mean", "jets", "accuracy", "uncertainty")
    return Drawing(figure, columns, rows)
