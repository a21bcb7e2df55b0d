"""How the trainings went."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from jetloom.drawing.panels import context, legend
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collect import DataSet


def training(dataset: DataSet, looks: dict[str, Look]) -> Drawing:
    """Loss and accuracy on validation and training jets against the epoch."""
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.4))
    rows = []
    for entry in dataset.entries:
        look = looks[entry.model]
        for result in entry.results:
            history = result.history
            epoch = history["epoch"] + 1
            for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
                axis.plot(epoch, history[f"val_{name}"], color=look.color, linewidth=1.5)
                axis.plot(epoch, history[f"train_{name}"], color=look.color, linewidth=1, linestyle=(0, (3, 1.5)))
            names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate", "seconds")
            points = zip(epoch, *(history[name] for name in names), strict=True)
            rows += [(entry.model, result.seed, *point) for point in points]
            # The checkpoint that was evaluated; epochs count from 0 in the file.
            best = int(np.flatnonzero(history["epoch"] == result.training["best_epoch"])[0])
            axes[1].plot(
                epoch[best], history["val_accuracy"][best], color=look.color, marker=look.marker, markersize=6,
                markeredgecolor="white", markeredgewidth=0.6, zorder=5,
            )  # fmt: skip
    for axis, name in zip(axes, ("Cross entropy [nats]", "Accuracy"), strict=True):
        axis.set_xlabel("Epoch", loc="center")
        axis.set_ylabel(name, loc="center")
        axis.set_xlim(left=0)
    if len(dataset.classes) > 1:
        axes[0].axhline(math.log(len(dataset.classes)), color="0.6", linewidth=0.8, linestyle=(0, (1, 2)))
        axes[0].annotate(
            "guessing", (0.99, math.log(len(dataset.classes))), xycoords=("axes fraction", "data"), color="0.4",
            fontsize=9, ha="right", va="bottom",
        )  # fmt: skip
    legend(figure, dataset, looks, "line", solid=True, extra=[
        (Line2D([], [], color="0.3"), "validation"),
        (Line2D([], [], color="0.3", linestyle=(0, (3, 1.5)), linewidth=1), "training"),
    ])  # fmt: skip
    context(figure, dataset)
    columns = ("model", "seed", "epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy",
               "learning_rate", "seconds")  # fmt: skip
    return Drawing(figure, columns, rows)
