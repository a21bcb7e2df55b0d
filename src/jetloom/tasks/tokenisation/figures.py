"""Pictures of tokenizers: what is lost of a jet, and how codes are used."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from jetloom.drawing.numbers import significant
from jetloom.drawing.panels import context, legend, panels
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds

RESIDUALS = {
    "mass": (r"Mass, decoded $-$ true [GeV]", "GeV"),
    "pt": (r"$p_\mathrm{T}$, decoded / true $-$ 1", ""),
    "tau21": (r"$\tau_{21}$, decoded $-$ true", ""),
    "tau32": (r"$\tau_{32}$, decoded $-$ true", ""),
}
BINS = 60


def residuals(entry: Entry, name: str) -> NDArray[np.float64]:
    """Of the jets that have the observable, of the first seed."""
    columns = entry.results[0].predictions.columns
    decoded, true = (columns[f"{side}_{name}"].astype(float) for side in ("decoded", "true"))
    with np.errstate(divide="ignore", invalid="ignore"):
        residual: NDArray[np.float64] = decoded / true - 1 if name == "pt" else decoded - true
    known: NDArray[np.float64] = residual[np.isfinite(residual)]
    return known


def reconstruction(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """Residuals of observables for each tokenizer."""
    figure, axes = panels(len(RESIDUALS), 4.6, 3.2, columns=2)
    rows: list[tuple[Any, ...]] = []
    for axis, (name, (text, unit)) in zip(axes, RESIDUALS.items(), strict=True):
        known = {entry.model: residuals(entry, name) for entry in dataset.entries}
        ends = np.array([np.quantile(values, [0.005, 0.995]) for values in known.values() if len(values)])
        if not len(ends):
            continue
        edges = np.linspace(ends[:, 0].min(), max(ends[:, 1].max(), ends[:, 0].min() + 1e-6), BINS + 1)
        for entry in dataset.entries:
            look, values = looks[entry.model], known[entry.model]
            share = np.histogram(values, edges)[0] / max(len(values), 1)
            middle, width = np.median(values), (np.quantile(values, 0.84) - np.quantile(values, 0.16)) / 2
            told = f"{significant(middle, 2)} ± {significant(width, 2)} {unit}".strip()
            axis.stairs(share, edges, color=look.color, linestyle=look.line, linewidth=1.4, label=told)
            rows += [
                (name, entry.model, *pair, value, float(middle), float(width))
                for *pair, value in zip(edges[:-1], edges[1:], share, strict=True)
            ]
        axis.axvline(0, color="0.6", linewidth=0.8, linestyle=(0, (1, 2)))
        axis.set_xlabel(text, loc="center")
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8.5, loc="upper left", handlelength=1.2)
    figure.supylabel("Share of the jets per bin", fontsize=12)
    legend(figure, dataset, looks, "line")
    context(figure, dataset)
    columns = ("observable", "model", "low_edge", "high_edge", "share", "median", "half_68")
    return Drawing(figure, columns, rows)


def codebook(dataset: DataSet, looks: dict[str, Look]) -> Drawing | None:
    """How often codes occur, by falling frequency; and what more codes bring, where there are several numbers."""
    sizes = {entry.model: len(entry.results[0].metrics["codes"]) for entry in dataset.entries}
    scan = len(set(sizes.values())) > 1
    figure, axes = plt.subplots(1, 3 if scan else 1, figsize=(11.5 if scan else 6.0, 4.4), squeeze=False)
    rows: list[tuple[Any, ...]] = []
    for entry in dataset.entries:
        look, counts = looks[entry.model], np.array(entry.results[0].metrics["codes"], dtype=float)
        share = counts / max(counts.sum(), 1)
        rank = np.arange(1, len(share) + 1)
        axes[0][0].plot(rank[share > 0], share[share > 0], color=look.color, linestyle=look.line)
        axes[0][0].axhline(1 / len(share), color=look.color, linewidth=0.8, linestyle=(0, (1, 3)))
        rows += [("share", entry.model, int(place), value) for place, value in zip(rank, share, strict=True)]
    axes[0][0].set_xscale("log")
    axes[0][0].set_yscale("log")
    axes[0][0].set_xlabel("Rank of the code", loc="center")
    axes[0][0].set_ylabel("Share of the particles", loc="center")
    for axis, name, text in zip(
        axes[0][1:],
        ("perplexity", "mass_resolution"),
        ("Perplexity", "Half 68 % of the mass residual [GeV]"),
        strict=False,
    ):
        for entry in dataset.entries:
            look, value = looks[entry.model], over_seeds(entry, name)
            axis.errorbar(
                sizes[entry.model], value.number, yerr=value.combined or 0.0, color=look.color, marker=look.marker
            )
            rows.append((name, entry.model, sizes[entry.model], value.number))
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("Codes", loc="center")
        axis.set_ylabel(text, loc="center")
    legend(figure, dataset, looks, "marker")
    context(figure, dataset)
    return Drawing(figure, ("quantity", "model", "rank_or_codes", "value"), rows)
