"""What a task shows of its results: figures of merit, tables, pictures, words. The report knows no more of a task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from jetloom.drawing.cells import Cell, Table, value_cell
from jetloom.drawing.style import Drawing, Look
from jetloom.results.collection import DataSet, Entry, Task
from jetloom.statistics.values import Difference, Value


@dataclass(frozen=True)
class Metric:
    """A figure of merit; tables, CSV files, ranking and ``compare`` follow from it."""

    name: str
    """In CSV files."""
    title: str
    """Head of its column."""
    better: Literal["higher", "lower", "nearer to zero"]
    of: Callable[[Entry], Value | None]
    """From a model to its value over all seeds; None: not evaluated."""
    key: str = ""
    """In the ``values`` of ``metrics.json`` and in ``history.csv``, where a training has it as one number."""
    hint: str = ""
    digits: int = 3
    """Significant digits where no uncertainty is known."""
    cell: Callable[[Value], Cell] | None = None
    """How it is written; None: with symmetric uncertainties."""
    difference: Callable[[Entry, Entry], Difference | None] | None = None
    """Of two models evaluated on the same jets, the first less the second; None: cannot be said."""
    table: str = "overview"
    """The table that it belongs to."""
    shown: bool = True
    """As a column of that table and of ``compare``; otherwise in CSV files alone."""

    def written(self, entry: Entry, best: bool = False) -> Cell:
        """Its cell in the row of a model."""
        value = self.of(entry)
        if value is None:
            return Cell("–", None)
        return self.cell(value) if self.cell else value_cell(value, best, self.digits)

    def behind(self, best: Entry, other: Entry) -> Difference | None:
        """By how much another model is worse than the best one; None: cannot be said."""
        if self.difference is None:
            return None
        return self.difference(best, other) if self.better == "higher" else self.difference(other, best)

    def close(self, best: Entry, others: Sequence[Entry]) -> list[Entry]:
        """Models that cannot be told apart from the best one."""
        found = [(entry, self.behind(best, entry)) for entry in others]
        return [entry for entry, difference in found if difference and difference.sigma < CLEAR]

    def rank(self, entry: Entry) -> float:
        """A key that sorts the best model first."""
        value = self.of(entry)
        number = value.value or 0.0 if value else 0.0
        return {"higher": -number, "lower": number, "nearer to zero": abs(number)}[self.better]


class Kind(NamedTuple):
    """One kind of figure."""

    draw: Callable[..., Drawing | None]
    """From a data set and the looks (and all data sets) to the drawing; None where there is nothing to show."""
    title: str
    caption: str
    """How to read it; in braces the words of the data set and of the task."""
    compares: bool = False
    """It needs all data sets of the report as a third argument."""
    leads: bool = False
    """The first screen links to it."""
    of_labels: bool = False
    """It shows models with few labelled jets too, not only with the most."""

    def of(self, dataset: DataSet, looks: dict[str, Look], datasets: Sequence[DataSet]) -> Drawing | None:
        """Draw it for a data set of a report."""
        if not self.of_labels:
            dataset, datasets = dataset.with_most_labels, [item.with_most_labels for item in datasets]
        return self.draw(dataset, looks, datasets) if self.compares else self.draw(dataset, looks)


CLEAR = 2.0
"""Standard deviations from which on a difference is called one."""


class Behind(NamedTuple):
    """Words of a column of differences, which are times 100."""

    head: str
    hint: str
    best: str
    """What the best one is."""


class Show:
    """What a task shows. This one is that of a task that says nothing about itself: cost and training curves alone."""

    model = "model"
    """What the networks are called."""
    figures: ClassVar[Mapping[str, Kind]] = {}
    """By name, in the order of the page, before those of cost."""
    figures_of_size: ClassVar[Mapping[str, Kind]] = {}
    """Those of the number of training jets, after those of cost."""
    curves: ClassVar[Mapping[str, str]] = {}
    """Axis labels of columns of ``history.csv``, without ``train_`` and ``val_``."""
    title = "Cost"
    """Of the table of all models."""
    behind = Behind("Behind the best [%]", "", "the best one")
    """Words of the column of differences to the best model."""
    pairing = "both were tested on the same jets"
    """How ``compare`` makes its differences."""

    def subject(self, task: Task) -> str:
        """What is added to the name of the data set; results of one name are compared with each other."""
        return task.name

    def heading(self, dataset: DataSet) -> str:
        """Title of the section."""
        return f"{dataset.title}: {self.subject(dataset.task).replace('_', ' ')}"

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Figures of merit of a data set that was evaluated; the first one ranks the models."""
        return []

    def tables(self, dataset: DataSet, datasets: Sequence[DataSet]) -> dict[str, Table | None]:
        """More tables by name, of one data set among those of the report; None: nothing to show."""
        return {}

    def words(self, dataset: DataSet) -> dict[str, str]:
        """What the braces of captions stand for."""
        return {}

    def guessing(self, dataset: DataSet) -> dict[str, float]:
        """Values of training curves that guessing reaches."""
        return {}

    def verdict(self, dataset: DataSet, entries: list[Entry]) -> str:
        """First sentence of the first screen: which model is best; the best one comes first."""
        return ""

    def worse(self, best: Entry, other: Entry) -> str:
        """By how much another model is worse, as ``is 2 points less accurate``."""
        return ""

    def detail(self, dataset: DataSet, best: Entry) -> str:
        """Last sentence of the first screen."""
        return ""

    def lead(self, dataset: DataSet) -> Metric | None:
        """The figure of merit that ranks the models; None: they are not evaluated."""
        return next(iter(self.metrics(dataset)), None) if dataset.evaluated else None

    def ranked(self, dataset: DataSet) -> list[Entry]:
        """Models of a data set, the best first."""
        lead = self.lead(dataset)
        return sorted(dataset.entries, key=lead.rank) if lead else list(dataset.entries)


def enumerated(names: Sequence[Any]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
