"""Tables as data (:mod:`cells`), what is in them, and how they are written (:mod:`render`)."""

from collections.abc import Iterator
from typing import NamedTuple

from jetloom.drawing.cells import Table
from jetloom.report.papers.rebuilt import rebuild
from jetloom.report.papers.tables import paper_table
from jetloom.report.shows import show_of
from jetloom.report.tables.energy import energies
from jetloom.report.tables.overview import overview, runs
from jetloom.report.tables.quantised import in_fewer_bits
from jetloom.results.collection import Collection, DataSet


class Tables(NamedTuple):
    """All tables of a report."""

    datasets: dict[str, dict[str, Table]]
    """By data set and name."""
    papers: dict[str, Table]
    """By the name of the published table."""
    efficiency: Table | None

    def named(self) -> Iterator[tuple[str, Table]]:
        """Each with the name of its files."""
        for dataset, tables in self.datasets.items():
            yield from ((f"{dataset}-{name}", table) for name, table in tables.items())
        yield from ((f"paper-{name}", table) for name, table in self.papers.items())
        if self.efficiency:
            yield "efficiency", self.efficiency


def of_dataset(collection: Collection, dataset: DataSet) -> dict[str, Table]:
    """All tables of a data set that have something to show, by name."""
    more = show_of(dataset.task.name).tables(dataset, collection.datasets) if dataset.evaluated else {}
    tables = {
        "overview": overview(dataset),
        **more,
        "quantised": in_fewer_bits(dataset),
        "energy": energies(dataset),
        "runs": runs(collection, dataset),
    }
    return {name: table for name, table in tables.items() if table is not None}


def of_papers(collection: Collection) -> dict[str, Table]:
    """The tables of papers that these results rebuild or touch, by the name of the published table."""
    return {rebuilt.name: paper_table(rebuilt) for rebuilt in rebuild(collection)}
