"""What a table is made of: cells that know their text, order and uncertainty, whatever they are shown in."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jetloom.drawing.numbers import significant, with_uncertainties
from jetloom.results.collection import Entry, Result
from jetloom.statistics.values import Difference, Value

CHANGED = ("*", "trained from a working tree with uncommitted changes: its commit does not say what ran")
"""Mark and words for a result that no commit describes."""

PARTS = ("", "_low", "_high", "_seed_spread")
"""Endings of the columns of a CSV file that hold a value: itself, its interval, its spread."""


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


class Made(NamedTuple):
    """A number that follows from results, and the roles of the files that it was made from."""

    value: Any
    roles: tuple[str, ...]


class Records(NamedTuple):
    """Numbers of a CSV file; a cell that follows from results is ``Made``, others only name things."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    runs: Sequence[Sequence[Result]] = ()
    """The trainings behind each row; empty: of a table that says nothing of trainings."""

    @property
    def values(self) -> list[list[Any]]:
        """The rows without what they were made from."""
        return [[cell.value if isinstance(cell, Made) else cell for cell in row] for row in self.rows]


def made(values: Iterable[Any], *roles: str) -> list[Made]:
    """Numbers that were all made from files of these roles."""
    return [Made(value, roles) for value in values]


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
    records: Records | None = None
    """The same numbers unrounded; None: the cells say it all."""


def value_cell(value: Value, best: bool = False, digits: int = 3) -> Cell:
    """A value with its statistical uncertainty and its spread; with neither, so many significant digits."""
    known = [item for item in (value.statistical, value.spread) if item]
    if value.value is None:
        return Cell("–", None)
    text, *uncertainties = with_uncertainties(value.value, *known) if known else [significant(value.value, digits)]
    return Cell(text, value.value, uncertainties=tuple(uncertainties), best=best)


def difference_cell(difference: Difference, scale: float = 1) -> Cell:
    """A difference with its uncertainty, times ``scale``."""
    value, *uncertainty = with_uncertainties(scale * difference.value, scale * difference.uncertainty)
    return Cell(value, difference.value, f"{difference.sigma:.1f} standard deviations", tuple(uncertainty))


def model_cell(entry: Entry, hint: str = "") -> Cell:
    """The first cell of the row of a model."""
    return Cell(entry.title, entry.title.lower(), hint or entry.model, mark=changed_mark(entry))


def commits_cell(entry: Entry) -> Cell:
    """The commits that a model was trained from."""
    commits = ", ".join(entry.commits)
    return Cell(commits + (" (changed)" if changed_mark(entry) else ""), commits)


def seeds(entry: Entry) -> str:
    """``seeds 1, 2``."""
    numbers = ", ".join(str(result.seed) for result in entry.results)
    return f"seed{'s' if len(entry.results) > 1 else ''} {numbers}"


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
