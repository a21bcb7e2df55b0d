"""What a table is made of: cells that know their text, order and uncertainty, whatever they are shown in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jetloom.drawing.numbers import Figure, decimals, fixed, significant, with_uncertainties
from jetloom.results.collect import Entry, Result
from jetloom.results.over_seeds import combined_interval

CHANGED = ("*", "trained from a working tree with uncommitted changes: its commit does not say what ran")
"""Mark and words for a result that no commit describes."""


@dataclass(frozen=True)
class Cell:
    """One cell: what is read, what is sorted by, what a pointer explains."""

    text: str
    order: float | str | None = None
    hint: str = ""
    uncertainties: tuple[str, ...] = ()
    above: str = ""
    """Upper uncertainty, where the two sides differ; then ``below`` is the lower one."""
    below: str = ""
    link: str = ""
    best: bool = False
    mark: str = ""
    """Refers to a footnote of the table."""
    links: tuple[tuple[str, str], ...] = ()
    """Several links, (text, address) each; they take the place of ``text``."""


@dataclass(frozen=True)
class Table:
    """A sortable table; the first cell of a row names the model."""

    title: str
    note: str
    columns: list[Cell]
    rows: list[tuple[str, list[Cell]]]
    """Model name (for its colour) and cells."""
    footnotes: tuple[tuple[str, str], ...] = ()
    """Mark and words."""
    records: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None
    """The same numbers unrounded, columns and rows; None: the cells say it all."""
    runs: Sequence[Sequence[Result]] = ()
    """The trainings that each row of the records (without them: each row) came from; empty: it came from none."""


class Records(NamedTuple):
    """Numbers of a CSV file, and the trainings that each of its rows came from."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    runs: Sequence[Sequence[Result]]


def figure_cell(figure: Figure, best: bool = False) -> Cell:
    """A value with its statistical uncertainty and its spread."""
    value, *uncertainties = with_uncertainties(figure.value or 0.0, figure.statistical, figure.spread)
    return Cell(value, figure.value, uncertainties=tuple(uncertainties), best=best)


def rejection_cell(figure: Figure, hint: str) -> Cell:
    """A rejection: upper and lower uncertainty differ, and it may be a limit."""
    if figure.value is None or figure.low is None:
        return Cell(f"> {significant(figure.low or 0, 2)}", figure.low, hint)
    low, high = combined_interval(figure)
    down = figure.value - low
    if high is None:
        places = decimals(down)
        return Cell(fixed(figure.value, places), figure.value, f"{hint}; no upper end", above="+∞",
                    below=f"−{fixed(down, places)}")  # fmt: skip
    up = high - figure.value
    # The lower, tighter side decides on the digits of the value; the upper one may be known to fewer.
    places = decimals(down)
    above = f"+{fixed(up, min(places, decimals(up)))}"
    return Cell(fixed(figure.value, places), figure.value, hint, above=above, below=f"−{fixed(down, places)}")


def mlflow_link(tracked: dict[str, Any]) -> tuple[str, bool]:
    """Address of a run in the MLflow UI, and whether its server must first be started on this machine."""
    uri = tracked.get("uri") or ""
    local = not uri.startswith(("http://", "https://"))
    # A password in the address of a server is not for readers of the page.
    base = "http://127.0.0.1:5000" if local else re.sub(r"//[^/@]*@", "//", uri).rstrip("/")
    return f"{base}/#/experiments/{tracked['experiment_id']}/runs/{tracked['run_id']}", local


def run_link(result: Result, text: str) -> tuple[str, str] | None:
    """Text and address of the MLflow run of a training; None: it was not tracked."""
    tracked = result.training.get("mlflow") or {}
    return (text, mlflow_link(tracked)[0]) if tracked.get("run_id") else None


def changed_mark(entry: Entry) -> str:
    """The mark of results that were made from a tree with uncommitted changes, or nothing."""
    changed = any((result.training.get("git") or {}).get("dirty") for result in entry.results)
    return CHANGED[0] if changed else ""


def changed_footnote(entries: Sequence[Entry]) -> tuple[tuple[str, str], ...]:
    """The footnote to :func:`changed_mark`, where any entry has it."""
    return (CHANGED,) if any(changed_mark(entry) for entry in entries) else ()
