"""How well the classes are told apart: ROC curves, rejections, confusion, score distributions."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from jetloom.drawing.names import in_figure, in_text
from jetloom.drawing.panels import context, legend, panels
from jetloom.drawing.plots import Axis, Curve, Plot, thinned
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.statistics.values import Value
from jetloom.tasks.classification.metrics import discriminant
from jetloom.tasks.classification.over_seeds import (
    background,
    combined_interval,
    mean_confusion,
    ranked,
    rejection_over_seeds,
    roc_over_seeds,
)
from jetloom.tasks.classification.scores import Scores

LARGEST_ODDS = 9.0
"""The discriminant is shown up to these log-odds; what lies beyond is in the last bin."""


def roc(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Background rejection against signal efficiency, one panel for each signal class."""
    signals = list(dataset.first["roc"])
    if not signals:
        return None
    figure, axes = panels(len(signals), 3.5, 2.7, sharex=True, sharey=True)
    rows, plots = [], []
    ceiling = max(item["background_jets"] for item in dataset.first["values"]["rejection"].values())
    for axis, signal in zip(axes, signals, strict=True):
        curves = []
        for entry in dataset.entries:
            curve, look = roc_over_seeds(entry, signal), looks[entry.model]
            # Below one background jet nothing was measured: the curve ends there.
            shown = curve["background_efficiency"] * ceiling >= 1
            x = curve["signal_efficiency"]
            value, low, high = (1 / np.maximum(curve[key], 1 / ceiling) for key in
                                ("background_efficiency", "high", "low"))  # fmt: skip
            axis.fill_between(x[shown], low[shown], high[shown], color=look.color, alpha=0.16, linewidth=0)
            axis.plot(x[shown], value[shown], color=look.color, linestyle=look.line)
            # The same efficiencies of all taggers: they are read at one place.
            few = np.intersect1d(thinned(len(x)), np.flatnonzero(shown))
            curves.append(Curve(entry.model, entry.title, *(part[few].tolist() for part in (x, value, low, high))))
            names = ("signal_efficiency", "background_efficiency", "low", "high")
            points = zip(*(curve[name] for name in names), strict=True)
            rows += [(signal, entry.model, *point) for point in points]
        point = dataset.first["values"]["rejection"][signal]["efficiency"]
        axis.axvline(point, color="0.55", linewidth=0.9, linestyle=(0, (1, 2)))
        axis.set_yscale("log", subs=[])
        axis.set_xlim(0, 1)
        axis.set_ylim(1, 1.6 * ceiling)
        axis.text(0.05, 0.06, in_figure(signal), transform=axis.transAxes, fontsize=12)
        across, up = Axis("Signal efficiency", limits=(0, 1)), Axis("Background rejection", True, (1, 1.6 * ceiling))
        plots.append(Plot(in_text(signal), across, up, curves, at=point))
    figure.supxlabel(r"Signal efficiency $\varepsilon_S$", fontsize=12)
    name = background(dataset)
    against = in_figure(name) if name else "all others"
    figure.supylabel(rf"Background rejection $1/\varepsilon_B$ against {against}", fontsize=12)
    legend(figure, dataset, looks, "line")
    context(figure, dataset)
    columns = ("class", "model", "signal_efficiency", "background_efficiency", "low", "high")
    return Drawing(figure, columns, rows, plots)


def rejection(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Background rejection at the working point of each class, bars with intervals."""
    points = dataset.first["values"]["rejection"]
    if not points:
        return None
    figure, axis = plt.subplots(figsize=(10.5, 4.6))
    rows = []
    count = len(dataset.entries)
    width = 0.8 / count
    top = 1.0
    for place, entry in enumerate(dataset.entries):
        look = looks[entry.model]
        for index, signal in enumerate(points):
            value = rejection_over_seeds(entry, signal)
            x = index + (place - (count - 1) / 2) * width
            top = max(top, value.high or 0, value.low or 0, value.value or 0)
            _bar(axis, x, width, value, look)
            rows.append((signal, points[signal]["efficiency"], entry.model, *value[:4]))
    axis.set_yscale("log")
    axis.set_ylim(1, 3 * top)
    axis.set_xlim(-0.6, len(points) - 0.4)
    axis.set_xticks(
        range(len(points)),
        [f"{in_figure(name)}\n{100 * point['efficiency']:g} %" for name, point in points.items()],
    )
    axis.tick_params(axis="x", which="both", length=0)
    axis.set_xlabel("Signal class and efficiency of the working point", loc="center")
    axis.set_ylabel(r"Background rejection $1/\varepsilon_B$", loc="center")
    legend(figure, dataset, looks, "bar")
    context(figure, dataset)
    return Drawing(figure, ("class", "efficiency", "model", "rejection", "low", "high", "seed_spread"), rows)


def _bar(axis: Axes, x: float, width: float, value: Value, look: Look) -> None:
    if value.value is None:
        # Only a lower limit: an open bar with an arrow.
        low = value.low or 0.0
        axis.bar(x, low, 0.9 * width, color="none", edgecolor=look.color, linewidth=1.0, linestyle="--")
        axis.annotate("", (x, 1.7 * low), (x, low), arrowprops={"arrowstyle": "-|>", "color": look.color, "lw": 1.2})
        return
    axis.bar(x, value.value, 0.9 * width, color=look.color)
    low, high = combined_interval(value)
    axis.plot([x, x], [low, high or 2 * value.value], color="black", linewidth=1.0)
    if high is None:
        axis.plot(x, 2 * value.value, marker="^", markersize=4, color="black")


def confusion(dataset: DataSet, looks: dict[str, Look]) -> Drawing:
    """Share of each true class that goes to each class, one matrix for each model, best model first."""
    del looks
    classes = [in_figure(name) for name in dataset.classes]
    size = max(3.0, 0.37 * len(classes))
    figure, axes = panels(len(dataset.entries), size, size, sharex=True, sharey=True)
    rows, images = [], []
    for axis, entry in zip(axes, ranked(dataset), strict=True):
        matrix = mean_confusion(entry)
        # Square root: what goes wrong is small and is what one wants to see.
        images.append(axis.imshow(np.sqrt(matrix), cmap="Blues", vmin=0, vmax=1, aspect="equal"))
        for (row, column), share in np.ndenumerate(matrix):
            rows.append((entry.model, dataset.classes[row], dataset.classes[column], share))
            if share >= 0.005:
                color = "white" if share > 0.4 else "black"
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7.5, color=color)
        axis.set_title(entry.title, fontsize=11.5, pad=5)
        axis.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8.5)
        axis.set_yticks(range(len(classes)), classes, fontsize=8.5)
        axis.tick_params(which="both", length=0)
        axis.tick_params(axis="x", rotation=90)
    bar = figure.colorbar(images[-1], ax=axes, shrink=0.6, aspect=30, pad=0.01)
    ticks = [0, 0.05, 0.2, 0.4, 0.7, 1]
    bar.set_ticks(np.sqrt(ticks).tolist(), labels=[f"{100 * tick:g} %" for tick in ticks])
    bar.ax.tick_params(labelsize=9, which="both", length=0)
    # The empty line keeps it clear of the turned labels, whose size is underestimated.
    figure.supxlabel("\nClass given by the tagger", fontsize=12)
    figure.supylabel("True class", fontsize=12)
    context(figure, dataset, in_margin=True)
    return Drawing(figure, ("model", "true_class", "given_class", "share"), rows)


def scores(dataset: DataSet, looks: dict[str, Look]) -> Drawing:
    """Distribution of the discriminant of each class for the class itself and for the background.

    As log-odds ln(D / (1 - D)) = ln(s_S / s_B): the same order of jets, and the ends are not squeezed into one bin.
    """
    name = background(dataset)
    against = dataset.classes.index(name) if name else None
    signals = [index for index in range(len(dataset.classes)) if index != against]
    columns = 5 if len(signals) == 10 else 3
    figure, axes = panels(len(signals), 10.5 / columns, 2.5, columns, sharex=True, sharey=True)
    edges = np.linspace(-LARGEST_ODDS, LARGEST_ODDS, 19)
    histograms = [_score_histograms(entry, signals, against, edges) for entry in dataset.entries]
    rows = []
    for place, (axis, signal) in enumerate(zip(axes, signals, strict=True)):
        for entry, of_entry in zip(dataset.entries, histograms, strict=True):
            own, other = of_entry[place]
            look = looks[entry.model]
            # Bins without jets have no place on a logarithmic axis.
            for share, line in ((own, "-"), (other, (0, (3, 1.5)))):
                axis.stairs(np.where(share > 0, share, np.nan), edges, color=look.color, linewidth=1.3, linestyle=line)
            rows += [
                (dataset.classes[signal], entry.model, edges[index], edges[index + 1], own[index], other[index])
                for index in range(len(own))
            ]
        axis.set_yscale("log", subs=[])
        axis.set_ylim(8e-4, 3)
        axis.set_xlim(edges[0], edges[-1])
        axis.text(0.5, 0.94, in_figure(dataset.classes[signal]), transform=axis.transAxes, ha="center", va="top")
    others = in_figure(name) if name else "all other classes"
    symbol = r"Discriminant $\ln(s_S/s_B)$" if name else r"Discriminant $\ln(s/(1-s))$"
    figure.supxlabel(symbol, fontsize=12)
    figure.supylabel(f"Share of {dataset.words.things} per bin", fontsize=12)
    legend(figure, dataset, looks, "line", solid=True, extra=[
        (Line2D([], [], color="0.3"), "the class itself"),
        (Line2D([], [], color="0.3", linestyle=(0, (3, 1.5))), others),
    ])  # fmt: skip
    context(figure, dataset)
    return Drawing(figure, ("class", "model", "low_edge", "high_edge", "share_of_class", "share_of_background"), rows)


def _score_histograms(
    entry: Entry, signals: Sequence[int], against: int | None, edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the jets in each bin, mean over seeds: (signals, the class itself and its background, bins)."""
    shares = []
    for result in entry.results:
        counts = np.zeros((len(signals), 2, len(edges) - 1))
        jets = np.zeros((len(signals), 2, 1))
        for scores, label in result.read(Scores).parts():
            for place, signal in enumerate(signals):
                others = label != signal if against is None else label == against
                for which, chosen in enumerate((label == signal, others)):
                    odds = discriminant(scores[chosen], signal, against)
                    with np.errstate(divide="ignore"):
                        value = np.clip(np.log(odds) - np.log1p(-odds), edges[0], edges[-1])
                    counts[place, which] += np.histogram(value, edges)[0]
                    jets[place, which] += len(odds)
        shares.append(counts / jets)
    mean: NDArray[np.float64] = np.mean(shares, axis=0)
    return mean
