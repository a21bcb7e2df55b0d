"""What more training jets bring."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, StrMethodFormatter

from jetloom.drawing.names import in_figure
from jetloom.drawing.panels import context, legend
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.classification.over_seeds import background, combined_interval, rejection_over_seeds

ALIKE = ("kind", "source", "simulated", "classes", "feature_set", "max_particles", "selection")
"""What the manifests of two data sets must share for their difference to be the number of training jets."""


def family(dataset: DataSet, datasets: Sequence[DataSet]) -> list[DataSet]:
    """Data sets that differ from this one in the number of training jets only, itself among them, smallest first."""
    alike = [
        other
        for other in datasets
        if all(other.manifest[key] == dataset.manifest[key] for key in ALIKE)
        and other.task.name == dataset.task.name
        and (background(other), other.jets) == (background(dataset), dataset.jets)
    ]
    return sorted(alike, key=training_jets)


def training_jets(dataset: DataSet) -> int:
    """Jets in the training split."""
    jets: int = dataset.manifest["splits"]["train"]["jets"]
    return jets


def samples(dataset: DataSet, looks: dict[str, Look], datasets: Sequence[DataSet]) -> Drawing | None:
    """Error rate and rejection against the number of training jets, for models trained on several sizes.

    Drawn with the largest of the data sets; None for the others and where there is one size only.
    """
    members = family(dataset, datasets)
    sizes = sorted({training_jets(member) for member in members})
    if len(sizes) < 2 or members[-1] is not dataset:
        return None
    by_model: dict[str, list[tuple[int, Entry]]] = {}
    for member in members:
        for entry in member.entries:
            by_model.setdefault(entry.model, []).append((training_jets(member), entry))
    # Two of the classes, those that some background survives everywhere first.
    signals = [
        name for name in dataset.first["values"]["rejection"]
        if all(rejection_over_seeds(entry, name).value for points in by_model.values() for _, entry in points)
    ][:2]  # fmt: skip
    figure, axes = plt.subplots(1, 1 + len(signals), figsize=(3.6 * (1 + len(signals)) + 0.4, 4.2), squeeze=False)
    rows = []
    for model, points in by_model.items():
        look = looks[model]
        style = {"color": look.color, "marker": look.marker, "linestyle": look.line, "capsize": 0, "elinewidth": 1.1}
        jets = [number for number, _ in points]
        accuracies = [over_seeds(entry, "accuracy") for _, entry in points]
        wrong = [100 * (1 - (item.value or 0.0)) for item in accuracies]
        axes[0][0].errorbar(jets, wrong, yerr=[100 * (item.combined or 0.0) for item in accuracies], **style)
        rows += [("accuracy", model, number, *item[:4]) for number, item in zip(jets, accuracies, strict=True)]
        for axis, signal in zip(axes[0][1:], signals, strict=True):
            values = [rejection_over_seeds(entry, signal) for _, entry in points]
            rows += [
                (f"rejection_{signal}", model, number, *item[:4]) for number, item in zip(jets, values, strict=True)
            ]
            middle = np.array([item.value for item in values])
            ends = [combined_interval(item) for item in values]
            down = middle - np.array([low for low, _ in ends])
            up = np.array([high or 2 * value for (_, high), value in zip(ends, middle, strict=True)]) - middle
            axis.errorbar(jets, middle, yerr=[down, up], **style)
    names = ["Wrong answers [%]"]
    names += [f"Rejection, {in_figure(name)}" for name in signals]
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(FixedLocator(sizes))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axis.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
        axis.set_xlabel(f"Training {dataset.words.things}", loc="center")
        axis.set_ylabel(name, loc="center")
    axes[0][0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[0][0].yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    legend(figure, dataset, looks, "marker")
    context(figure, dataset)
    return Drawing(figure, ("quantity", "model", "training_jets", "value", "low", "high", "seed_spread"), rows)
