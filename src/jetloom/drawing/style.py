"""How every figure looks, and how it is written: PDF, PNG and the numbers as CSV, the same bytes every time."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import mplhep
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType
from PIL import Image

from jetloom.drawing.plots import Plot
from jetloom.system.files import appearing

# Petroff's ten colours (arXiv:2107.02270), told apart with every kind of colour vision; the field's default.
PALETTE = (
    "#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#94a4a2", "#a96b59", "#e76300", "#717581", "#b9ac70", "#92dadd",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES: tuple[LineStyleType, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
DASHES: dict[str, tuple[float, ...]] = {"-": (), "--": (3.7, 1.6), "-.": (6.4, 1.6, 1, 1.6), ":": (1, 1.65)}
# An architecture keeps its colour in every experiment; variants and new ones take what is left.
PLACES = {
    "part": 0, "salt": 1, "linformer": 2, "parmat": 3, "transformer": 4, "pointnet": 5, "particlenet": 6, "pfn": 7,
    "part_plain": 8, "pcnn": 9,
}  # fmt: skip

COLORS = 256
"""Colours of a PNG: few enough that a page with twenty of them stays small; the PDF has them all."""

_CHANGES = {
    "figure.dpi": 130, "savefig.dpi": 130, "figure.facecolor": "white", "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 11, "axes.labelsize": 12, "axes.titlesize": 11, "legend.fontsize": 10.5,
    "xtick.labelsize": 10, "ytick.labelsize": 10,
    "lines.linewidth": 1.6, "lines.markersize": 5.5, "axes.linewidth": 0.9, "hatch.linewidth": 0.6,
    "xtick.major.size": 6, "xtick.minor.size": 3, "ytick.major.size": 6, "ytick.minor.size": 3,
    "xtick.major.pad": 4, "ytick.major.pad": 4,
    "legend.frameon": False, "legend.handlelength": 1.9, "axes.unicode_minus": True,
    "svg.hashsalt": "jetloom", "pdf.fonttype": 42, "path.simplify": True,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of one model, the same in every figure."""

    color: str
    marker: str
    line: LineStyleType

    @property
    def dashes(self) -> Sequence[float]:
        """Lengths of dashes and gaps in widths of the line, as matplotlib draws them; empty: a solid line."""
        return DASHES[self.line] if isinstance(self.line, str) else self.line[1]


@dataclass
class Drawing:
    """A figure and the numbers behind it."""

    figure: Figure
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    plots: Sequence[Plot] = ()
    """Its panels, where the page lets the pointer ask them."""


def looks(models: Sequence[str]) -> dict[str, Look]:
    """A look for each model; known architectures keep theirs, whatever else is shown."""
    taken = {PLACES[model] for model in models if model in PLACES}
    # Beyond ten models colours repeat, with other markers and lines.
    free = [place for place in range(len(models) + len(PALETTE)) if place not in taken]
    result = {}
    for model in models:
        place = PLACES[model] if model in PLACES else free.pop(0)
        turn = place // len(PALETTE)
        result[model] = Look(
            PALETTE[place % len(PALETTE)],
            MARKERS[(place + turn) % len(MARKERS)],
            LINES[(place + turn) % len(LINES)],
        )
    return result


@contextmanager
def publication_style() -> Iterator[None]:
    """The field's style (mplhep), at the size of a page."""
    with plt.style.context([mplhep.style.ROOT, _CHANGES]):
        yield


def save(drawing: Drawing, stem: Path) -> None:
    """Write ``<stem>.pdf``, ``<stem>.png`` and ``<stem>.csv``; no date goes into them."""
    # Each canvas draws once; savefig would draw twice and solve the layout again.
    canvas = FigureCanvasAgg(drawing.figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with appearing(stem.with_name(f"{stem.name}.png")) as file:
        # The smallest file would take seven times as long and be 7 % smaller.
        image.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, format="png")
    drawing.figure.set_layout_engine("none")
    with appearing(stem.with_name(f"{stem.name}.pdf")) as file:
        FigureCanvasPdf(drawing.figure).print_pdf(file, metadata={"CreationDate": None, "Creator": "jetloom"})
    write_csv(stem.with_name(f"{stem.name}.csv"), drawing.columns, drawing.rows)
    plt.close(drawing.figure)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Numbers with six digits; None is an empty cell."""
    with appearing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_cell(value) for value in row] for row in rows])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) or hasattr(value, "dtype") else value
