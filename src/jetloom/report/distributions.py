"""What is in a data set: distributions of its main quantities for each class, straight from skims."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.data.axes import jet_mass
from jetloom.data.prepare.skim import read_facts
from jetloom.drawing.names import in_figure
from jetloom.drawing.panels import panels
from jetloom.drawing.style import PALETTE, Drawing, publication_style, save
from jetloom.errors import JetloomError

# Quantity -> axis label, whether it is a whole number.
JETS = {
    "multiplicity": ("Particles in the jet", True),
    "jet_mass": ("Jet mass [GeV]", False),
    "jet_pt": (r"Jet $p_\mathrm{T}$ [GeV]", False),
    "delta_r": (r"$\Delta R$ of particle and jet", False),
}
POINTS = {
    "radius": ("Distance of a point from the centre", False),
    "height": ("Height of a point", False),
}
JET_COLUMNS = ["part_deta", "part_dphi", "jet_pt", "jet_eta", "jet_energy"]
POINT_COLUMNS = ["points_x", "points_y", "points_z"]
BINS = 40
# Row groups of each file that decide where the axes end.
SAMPLED = 5


def plot(title: str, skims: Sequence[Path], output: Path) -> None:
    """Draw multiplicity, jet mass, pT and deltaR (for point clouds radius and height) of each class.

    Memory is bounded by a row group. The axes end where 0.5 % of the values of a row group (some of each file are
    looked at) lie beyond; what lies beyond is in the first and the last bin.

    Args:
        title: above the figure.
        skims: Parquet files of the data set.
        output: path without suffix; ``.pdf``, ``.png`` and ``.csv`` are written.

    Raises:
        JetloomError: no skims, a file that is none, skims of different classes, or no jets in them.
    """
    if not skims:
        raise JetloomError("no skims to plot; make them with `jetloom skim`, or `snakemake data`")
    facts = [read_facts(path) for path in skims]
    classes = facts[0]["classes"]
    for path, fact in zip(skims, facts, strict=True):
        if fact["classes"] != classes:
            raise JetloomError(f"{path}: holds the classes {fact['classes']}, {skims[0]} {classes}")
    quantiles = _quantiles(skims)
    if not quantiles:
        raise JetloomError(f"{skims[0]}: no jets were selected; nothing to plot")
    quantities = {name: text for name, text in (JETS | POINTS).items() if name in quantiles}
    edges = {name: _edges(*quantiles[name], whole) for name, (_, whole) in quantities.items()}
    counts = {name: np.zeros((len(classes), len(edges[name]) - 1)) for name in quantities}
    jets = np.zeros(len(classes), int)
    for path in skims:
        for values, label in _groups(path):
            jets += np.bincount(label, minlength=len(classes))
            for name, count in counts.items():
                repeats = len(values[name]) // len(label) if name in POINTS else 1
                owner = np.repeat(label, values["multiplicity"] if name == "delta_r" else repeats)
                count += _histogram(values[name], owner, edges[name], len(classes))
    with publication_style():
        save(_draw(title, classes, jets, quantities, edges, counts), output)


def _groups(path: Path, most: int | None = None) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[np.int64]]]:
    """Quantities and labels of each row group, or of at most so many, spread over the file."""
    file = pq.ParquetFile(path)
    points = POINT_COLUMNS[0] in file.schema_arrow.names
    columns = [*(POINT_COLUMNS if points else JET_COLUMNS), "label"]
    number = min(file.num_row_groups, most or file.num_row_groups)
    for index in np.unique(np.linspace(0, file.num_row_groups - 1, number).astype(int)).tolist():
        table = file.read_row_group(index, columns=columns).combine_chunks()
        if table.num_rows:
            yield (_point_values(table) if points else _jet_values(table)), table["label"].to_numpy().astype(int)


def _flat(table: pa.Table, column: str) -> NDArray[Any]:
    values: NDArray[Any] = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values


def _jet_values(table: pa.Table) -> dict[str, NDArray[Any]]:
    pt, eta, energy = (table[name].to_numpy() for name in ("jet_pt", "jet_eta", "jet_energy"))
    offsets = table["part_deta"].combine_chunks().offsets.to_numpy()
    return {
        "multiplicity": np.diff(offsets),
        "jet_mass": jet_mass(pt, eta, energy),
        "jet_pt": pt.astype(float),
        "delta_r": np.hypot(_flat(table, "part_deta"), _flat(table, "part_dphi")),
    }


def _point_values(table: pa.Table) -> dict[str, NDArray[Any]]:
    x, y, z = (_flat(table, name) for name in POINT_COLUMNS)
    return {"radius": np.sqrt(x**2 + y**2 + z**2), "height": z}


def _quantiles(skims: Sequence[Path]) -> dict[str, tuple[float, float]]:
    """Lowest and highest 0.5 % quantile of each quantity in a sample of the row groups."""
    ranges: dict[str, tuple[float, float]] = {}
    for path in skims:
        for quantities, _ in _groups(path, SAMPLED):
            for name, values in quantities.items():
                low, high = np.quantile(values[np.isfinite(values)], [0.005, 0.995])
                before = ranges.get(name, (low, high))
                ranges[name] = min(low, before[0]), max(high, before[1])
    return ranges


def _edges(low: float, high: float, whole: bool) -> NDArray[np.float64]:
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / BINS)))
        return np.arange(np.floor(low), np.ceil(high) + step + 1, step) - 0.5
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _histogram(
    values: NDArray[Any], owner: NDArray[np.int64], edges: NDArray[np.float64], classes: int
) -> NDArray[np.int64]:
    """Counts (classes, bins); values beyond the edges are in the outermost bins."""
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    return np.bincount(owner * bins + place, minlength=classes * bins).reshape(classes, bins)


def _draw(
    title: str,
    classes: list[str],
    jets: NDArray[np.int64],
    quantities: dict[str, tuple[str, bool]],
    edges: dict[str, NDArray[np.float64]],
    counts: dict[str, NDArray[np.float64]],
) -> Drawing:
    figure, axes = panels(len(quantities), 4.2, 3.2, columns=2)
    rows = []
    for axis, (name, (text, _)) in zip(axes, quantities.items(), strict=True):
        for index, label in enumerate(classes):
            share = counts[name][index] / max(counts[name][index].sum(), 1)
            axis.stairs(
                share, edges[name], color=PALETTE[index % len(PALETTE)], linewidth=1.3,
                linestyle="-" if index < 5 else (0, (4, 1.2)), label=in_figure(label),
            )  # fmt: skip
            rows += [
                (name, label, low, high, value, int(jets[index]))
                for low, high, value in zip(edges[name][:-1], edges[name][1:], share, strict=True)
            ]
        axis.set_xlabel(text, loc="center")
        axis.set_xlim(edges[name][0], edges[name][-1])
        axis.set_ylim(bottom=0)
    figure.supylabel("Share of the class per bin", fontsize=12)
    handles, labels = axes[0].get_legend_handles_labels()
    number = f"{jets.sum():,} {'point clouds' if 'radius' in quantities else 'jets'}"
    figure.legend(
        handles, labels, loc="outside upper center", ncols=5, columnspacing=1.6, title=f"{title}: {number}",
        title_fontsize=11,
    )  # fmt: skip
    return Drawing(figure, ("quantity", "class", "low_edge", "high_edge", "share", "jets_of_class"), rows)
