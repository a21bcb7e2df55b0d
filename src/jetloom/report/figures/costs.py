"""What quality costs, and how the cost grows."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from jetloom.drawing.panels import context, legend
from jetloom.drawing.plots import Axis, Curve, Plot
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.results.cost import largest_batch, milliseconds_per_jet
from jetloom.tasks.shows import Kind, Metric


def against_cost(model: str, metric: Metric) -> Kind:
    """The figure of merit that ranks the models against their cost."""
    way = "Up" if metric.better == "higher" else "Down"
    return Kind(
        partial(_against_cost, metric),
        f"{metric.title} against cost",
        f"{way} and to the left is better. The grey steps join the {model}s that no other one beats in both "
        f"{metric.title[0].lower()}{metric.title[1:]} and this cost. Error bars: jets and seeds in quadrature.",
        leads=True,
    )


def _against_cost(metric: Metric, dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """A figure of merit against parameters, FLOPs, latency and training time; the Pareto front is marked."""
    entries = [entry for entry in dataset.entries if entry.cost]
    if not entries:
        return None
    cost = entries[0].costs
    point = largest_batch(cost)
    axes_of: list[tuple[str, str, Callable[[Entry], float]]] = [
        ("parameters", "Parameters", lambda entry: entry.parameters),
        ("flops", f"FLOPs, {cost['flops_particles']} {dataset.words.particles}", lambda entry: entry.costs["flops"]),
        ("milliseconds_per_jet", f"Time per {dataset.words.thing} [ms]\nbatch {point['batch_size']}, "
         f"{point['particles']} {dataset.words.particles}", lambda entry: milliseconds_per_jet(entry)["median"]),
        ("training_minutes", "Training [min]", lambda entry: entry.training_seconds / 60),
    ]  # fmt: skip
    figure, axes = plt.subplots(1, 4, figsize=(10.8, 3.7), sharey=True)
    merit = {entry.model: value for entry in entries if (value := metric.of(entry))}
    rows: list[list[Any]] = [
        [entry.model, *merit[entry.model][:4], *(of(entry) for _, _, of in axes_of)] for entry in entries
    ]
    better: Literal["higher", "lower"] = "higher" if metric.better == "higher" else "lower"
    sign, plots = 1 if better == "higher" else -1, []
    for axis, (_, label, of) in zip(axes, axes_of, strict=True):
        points = [(of(entry), merit[entry.model].number) for entry in entries]
        front = [points[index] for index in pareto([(cost, sign * gain) for cost, gain in points])]
        axis.plot(*zip(*front, strict=True), color="0.7", linewidth=1, drawstyle="steps-post", zorder=1)
        for entry, place in zip(entries, points, strict=True):
            look = looks[entry.model]
            axis.errorbar(
                *place, yerr=merit[entry.model].combined, color=look.color, marker=look.marker, markersize=7,
                linestyle="none", elinewidth=1.1, capsize=0,
            )  # fmt: skip
        costs = [point[0] for point in points]
        axis.set_xscale("log")
        axis.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
        _plain_log_ticks(axis, min(costs) / 1.6, max(costs) * 1.6)
        axis.set_xlabel(label, loc="center", fontsize=11)
        curves = []
        for entry, (x, y) in zip(entries, points, strict=True):
            error = merit[entry.model].combined or 0.0
            curves.append(Curve(entry.model, entry.title, [x], [y], [y - error], [y + error]))
        against = Axis(label.replace("\n", ", "), log=True)
        plots.append(Plot("", against, Axis(metric.title), curves, "points", better=better))
    axes[0].set_ylabel(metric.title, loc="center")
    legend(figure, dataset, looks, "point", extra=[(Line2D([], [], color="0.7", linewidth=1), "best at its cost")])
    context(figure, dataset)
    columns = ("model", metric.key, "low", "high", "seed_spread", *(name for name, _, _ in axes_of))
    return Drawing(figure, columns, rows, plots)


def pareto(points: list[tuple[float, float]]) -> list[int]:
    """Indices of (cost, gain) points that no other point beats in both, by rising cost."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front: list[int] = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def _plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks at 1, 2, 5 on a logarithmic axis of few decades, with prefixes instead of powers."""
    decades = [10.0**power for power in range(-6, 16)]
    ratio = high / low
    steps = (1, 1.5, 2, 3, 5, 7) if ratio < 8 else (1, 2, 5) if ratio < 30 else (1, 3) if ratio < 200 else (1,)
    ticks = [step * decade for decade in decades for step in steps if low <= step * decade <= high]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(EngFormatter(sep="") if low >= 1e3 else StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())


def scaling(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Latency and peak memory against the number of particles."""
    entries = [entry for entry in dataset.entries if entry.cost]
    if not entries:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.4))
    rows = []
    for entry in entries:
        look, scan = looks[entry.model], entry.costs["length_scan"]
        particles = [point["particles"] for point in scan]
        times = [point["milliseconds"] for point in scan]
        style = {"color": look.color, "marker": look.marker, "linestyle": look.line}
        axes[0].plot(particles, [time["median"] for time in times], **style)
        axes[0].fill_between(
            particles, [time["low"] for time in times], [time["high"] for time in times], color=look.color, alpha=0.15,
            linewidth=0,
        )  # fmt: skip
        memory = [point["peak_memory_mb"] for point in scan]
        known = [(n, value) for n, value in zip(particles, memory, strict=True) if value]
        if known:
            axes[1].plot(*zip(*known, strict=True), **style)
        rows += [
            (entry.model, n, point["batch_size"], time["median"], time["low"], time["high"], point["peak_memory_mb"])
            for n, time, point in zip(particles, times, scan, strict=True)
        ]
    batch = entries[0].costs["length_scan"][0]["batch_size"]
    names = (f"Latency, batch {batch} [ms]", f"Peak memory, batch {batch} [MB]")
    for axis, name in zip(axes, names, strict=True):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(FixedLocator([point["particles"] for point in entries[0].costs["length_scan"]]))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(f"Number of {dataset.words.particles}", loc="center")
        axis.set_ylabel(name, loc="center")
        _slopes(axis)
    legend(figure, dataset, looks, "marker")
    context(figure, dataset)
    columns = ("model", "particles", "batch_size", "milliseconds", "low", "high", "peak_memory_mb")
    return Drawing(figure, columns, rows)


def _slopes(axis: Any) -> None:
    """Short guides in the lower right corner that rise like n and n squared."""
    left, right = axis.get_xlim()
    bottom, top = axis.get_ylim()
    bottom /= (top / bottom) ** 0.12
    begin, end = right / 5, right / 1.6
    height = bottom * (top / bottom) ** 0.03
    for power, name in ((1, "$n$"), (2, "$n^2$")):
        high = height * (end / begin) ** power
        axis.plot([begin, end], [height, high], color="0.6", linewidth=0.9, zorder=0)
        axis.annotate(name, (end * 1.04, high), color="0.35", fontsize=9.5, ha="left", va="center")
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)


def throughput(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Latency and jets per second against the batch size."""
    entries = [entry for entry in dataset.entries if entry.cost]
    if not entries:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.4))
    rows = []
    for entry in entries:
        look, points = looks[entry.model], sorted(entry.costs["latency"], key=lambda point: point["batch_size"])
        batches = [point["batch_size"] for point in points]
        times = [point["milliseconds"] for point in points]
        style = {"color": look.color, "marker": look.marker, "linestyle": look.line}
        axes[0].plot(batches, [time["median"] for time in times], **style)
        axes[0].fill_between(
            batches, [time["low"] for time in times], [time["high"] for time in times], color=look.color, alpha=0.15,
            linewidth=0,
        )  # fmt: skip
        axes[1].plot(batches, [point["jets_per_second"] for point in points], **style)
        pipelined = [point.get("pipelined_jets_per_second") for point in points]
        if None not in pipelined:
            axes[1].plot(batches, pipelined, color=look.color, linestyle=":", linewidth=1.2)
        rows += [
            (entry.model, point["batch_size"], point["particles"], *(point["milliseconds"][key] for key in
             ("median", "low", "high")), point["jets_per_second"], rate)
            for point, rate in zip(points, pipelined, strict=True)
        ]  # fmt: skip
    longest = entries[0].costs["latency"][0]["particles"]
    for axis, name in zip(
        axes, ("Latency [ms per batch]", f"Throughput [{dataset.words.things} per second]"), strict=True
    ):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(FixedLocator(sorted({point[1] for point in rows})))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(f"Batch size ({longest} {dataset.words.particles})", loc="center")
        axis.set_ylabel(name, loc="center")
    legend(figure, dataset, looks, "marker")
    context(figure, dataset)
    columns = ("model", "batch_size", "particles", "milliseconds", "low", "high", "jets_per_second",
               "pipelined_jets_per_second")  # fmt: skip
    return Drawing(figure, columns, rows)
