"""The jets themselves."""

import numpy as np

from jetloom.drawing.names import OBSERVERS, in_figure
from jetloom.drawing.panels import context, linear_bins, panels, shown_observers
from jetloom.drawing.style import PALETTE, Drawing, Look
from jetloom.results.collection import DataSet


def observables(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Multiplicity, pT and mass of the test jets of each class."""
    del looks
    if not dataset.evaluated:
        return None
    predictions = dataset.entries[0].results[0].predictions
    names = shown_observers(predictions.observers)
    if not names:
        return None
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
