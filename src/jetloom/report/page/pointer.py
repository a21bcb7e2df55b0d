"""Figures that answer the pointer: what their script draws from, and the script, which stands in the page itself."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from jetloom.drawing.plots import Plot, numbers
from jetloom.drawing.style import Look
from jetloom.report.tables.render import TEMPLATES

UPLOT = TEMPLATES.parent / "vendor/uplot"


class Code(NamedTuple):
    """What the page carries for them: our own files and a library, no input."""

    css: Markup
    js: Markup


@cache
def code() -> Code:
    """The library with its licence, then ours."""
    licence = (UPLOT / "LICENSE").read_text().strip()
    return Code(
        _together(UPLOT / "uPlot.min.css", TEMPLATES / "plots.css"),
        Markup(f"/* uPlot\n{licence}\n*/\n") + _together(UPLOT / "uPlot.iife.min.js", TEMPLATES / "plots.js"),
    )


def content(plots: Sequence[Plot], looks: Mapping[str, Look], order: Sequence[str]) -> Markup:
    """JSON of a figure: its models with their looks, and its panels.

    Args:
        plots: the panels.
        looks: by model.
        order: the models of the data set, the best first.
    """
    titles = {curve.model: curve.title for plot in plots for curve in plot.curves}
    models = [
        {"model": model, "title": titles[model], "color": look.color, "marker": look.marker, "dashes": look.dashes}
        for model in sorted(titles, key=order.index)
        for look in [looks[model]]
    ]
    whole = {"models": models, "plots": [numbers(plot) for plot in plots if any(len(curve.x) for curve in plot.curves)]}
    # Inside a script nothing but "<" could be taken for markup.
    return Markup(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _together(*files: Path) -> Markup:
    return Markup("\n".join(file.read_text() for file in files))
