"""How the trainings went."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from jetloom.drawing.panels import context, legend
from jetloom.drawing.style import Drawing, Look
from jetloom.report.shows import show_of
from jetloom.results.collection import DataSet

SIDES = ("train", "val")
STYLES: dict[str, dict[str, Any]] = {
    "val": {"linewidth": 1.5},
    "train": {"linewidth": 1, "linestyle": (0, (3, 1.5))},
}


def quantities(dataset: DataSet, columns: Iterable[str]) -> list[str]:
    """What ``history.csv`` has of training and of validation jets, and what the task names, the loss first."""
    known = dict.fromkeys(name.partition("_")[2] for name in columns if name.startswith(("train_", "val_")))
    named = show_of(dataset.task.name).curves
    both = [name for name in known if name in named or all(f"{side}_{name}" in columns for side in SIDES)]
    return sorted(both, key=lambda name: name != "loss")


def training(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """What is followed on validation and training jets against the epoch."""
    show = show_of(dataset.task.name)
    known = dict.fromkeys(name for entry in dataset.entries for result in entry.results for name in result.history)
    names = quantities(dataset, known)
    if not names:
        return None
    figure, axes = plt.subplots(1, len(names), figsize=(10.5 if len(names) < 3 else 3.6 * len(names), 4.4))
    axes = np.atleast_1d(axes)
    sides = [f"{side}_{name}" for name in names for side in SIDES]
    columns = [name for name in (*sides, "learning_rate", "seconds") if name in known]
    lead = show.lead(dataset)
    place = names.index(lead.key) if lead and lead.key in names else 0
    rows: list[tuple[Any, ...]] = []
    for entry in dataset.entries:
        look = looks[entry.model]
        for result in entry.results:
            history = result.history
            epoch = history["epoch"] + 1
            missing = np.full(len(epoch), np.nan)
            curves = {name: history.get(name, missing) for name in columns}
            for axis, name in zip(axes, names, strict=True):
                for side, style in STYLES.items():
                    axis.plot(epoch, curves.get(f"{side}_{name}", missing), color=look.color, **style)
            rows += [(entry.model, result.seed, *point) for point in zip(epoch, *curves.values(), strict=True)]
            # The checkpoint that was evaluated; epochs count from 0 in the file.
            best = int(np.flatnonzero(history["epoch"] == result.training["best_epoch"])[0])
            reached = curves.get(f"val_{names[place]}", missing)[best]
            axes[place].plot(
                epoch[best], reached, color=look.color, marker=look.marker, markersize=6, markeredgecolor="white",
                markeredgewidth=0.6, zorder=5,
            )  # fmt: skip
    for axis, name in zip(axes, names, strict=True):
        axis.set_xlabel("Epoch", loc="center")
        axis.set_ylabel(show.curves.get(name, name.replace("_", " ").capitalize()), loc="center")
        axis.set_xlim(left=0)
    for name, level in show.guessing(dataset).items():
        axis = axes[names.index(name)]
        axis.axhline(level, color="0.6", linewidth=0.8, linestyle=(0, (1, 2)))
        axis.annotate(
            "guessing", (0.99, level), xycoords=("axes fraction", "data"), color="0.4", fontsize=9, ha="right",
            va="bottom",
        )  # fmt: skip
    legend(figure, dataset, looks, "line", solid=True, extra=[
        (Line2D([], [], color="0.3"), "validation"),
        (Line2D([], [], color="0.3", **STYLES["train"]), "training"),
    ])  # fmt: skip
    context(figure, dataset)
    return Drawing(figure, ("model", "seed", "epoch", *columns), rows)
