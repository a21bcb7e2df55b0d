"""The numbers of a figure as the script of the page draws them, where a figure answers the pointer."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

DIGITS = 4
"""Significant digits; more cannot be read from a picture."""
THINNED = 50
"""Points of a curve that are enough for the eye."""


class Axis(NamedTuple):
    """What is drawn along an axis."""

    label: str
    """Plain text."""
    log: bool = False
    limits: tuple[float, float] | None = None
    """Of all panels alike; None: those of the points."""


class Curve(NamedTuple):
    """Points of one model, by rising x, with their intervals."""

    model: str
    title: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class Plot(NamedTuple):
    """One panel.

    ``line``: curves with bands; ``marked``: with markers too; ``points``: markers with error bars, and steps along
    those that no other one beats in both.
    """

    title: str
    x: Axis
    y: Axis
    curves: Sequence[Curve]
    kind: Literal["line", "marked", "points"] = "line"
    at: float | None = None
    """A dotted line at this x."""
    better: Literal["higher", "lower"] = "higher"
    """Which y wins, of points."""


def thinned(points: int) -> list[int]:
    """Indices of at most ``THINNED`` of so many points, the first and the last among them, evenly."""
    number = min(points, THINNED)
    return sorted({round(place * (points - 1) / max(number - 1, 1)) for place in range(number)})


def numbers(plot: Plot) -> dict[str, Any]:
    """A panel as JSON takes it; the models are named by ``model``, their looks are said elsewhere."""
    return {
        "title": plot.title,
        "kind": plot.kind,
        "x": plot.x._asdict(),
        "y": plot.y._asdict(),
        "at": plot.at,
        "better": plot.better,
        "curves": [
            {"model": curve.model}
            | {name: [_short(value) for value in getattr(curve, name)] for name in ("x", "y", "low", "high")}
            for curve in plot.curves
        ],
    }


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short
