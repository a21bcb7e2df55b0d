"""How the accuracy depends on the jet."""

import math

import numpy as np

from jetloom.drawing.names import OBSERVERS
from jetloom.drawing.panels import context, equal_count_bins, legend, panels, shown_observers
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet
from jetloom.tasks.classification.scores import Scores


def dependence(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Accuracy in bins of multiplicity, pT and mass, as far as they differ between jets."""
    observers = dataset.entries[0].results[0].predictions.observers
    names = [name for name in shown_observers(observers) if np.ptp(observers[name]) > 0]
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
                np.bincount(inside, weights=result.read(Scores).correct, minlength=len(jets)) / jets
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
