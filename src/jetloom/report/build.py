"""Build the report, its figures alone, or one figure, from files of finished trainings."""

from pathlib import Path

import yaml

from jetloom.config import parse_experiment
from jetloom.drawing.cells import Records, Table
from jetloom.drawing.style import write_csv
from jetloom.errors import JetloomError
from jetloom.report import tables
from jetloom.report.belonging import check
from jetloom.report.draw import draw, looks_of
from jetloom.report.figures import names
from jetloom.report.page.render import render
from jetloom.report.resources import stored_jobs, summarise
from jetloom.report.resources import table as table_of_efficiency
from jetloom.report.shows import read
from jetloom.report.tables.overview import csv_of_dataset, csv_of_runs
from jetloom.report.tables.render import write as write_table
from jetloom.results.collection import Collection
from jetloom.results.inputs import Inputs
from jetloom.results.titles import titled
from jetloom.system.files import appearing

NEEDED = {"experiment", "datasets", "models", "seeds"}
"""Keys of the configuration of a whole experiment."""


def report(given: Inputs, output: Path, processes: int = 1) -> dict[str, Records]:
    """Write ``index.html``, ``figures/<data set>/<name>.{pdf,png,csv}`` and ``tables/*.csv`` into ``output``.

    The same files give the same bytes.

    Args:
        given: files of the trainings.
        output: directory.
        processes: that draw figures at the same time.

    Returns:
        For each table, by the name of its CSV file, its numbers and what they were made from.

    Raises:
        JetloomError: results that do not belong together, or files that are not results.
    """
    collection = _collect(given)
    colors = looks_of(collection)
    shown = tables.Tables(
        {dataset.name: tables.of_dataset(collection, dataset) for dataset in collection.datasets},
        tables.of_papers(collection),
        _efficiency(collection, given.resources) if given.resources else None,
    )
    unrounded = {dataset.name: csv_of_dataset(dataset) for dataset in collection.datasets}
    unrounded["runs"] = csv_of_runs(collection)
    with appearing(output / "figures") as directory:
        directory.mkdir()
        drawings = draw(collection, directory, processes=processes)
        config = given.config.read_text() if given.config else None
        text = render(collection, colors, directory, drawings, given.title, config, shown)
    with appearing(output / "tables") as directory:
        directory.mkdir()
        for name, records in unrounded.items():
            write_csv(directory / f"{name}.csv", records.columns, records.values)
        for name, table in shown.named():
            write_table(table, directory / name, colors)
    with appearing(output / "index.html") as page:
        page.write_text(text)
    return unrounded | {name: table.records for name, table in shown.named() if table.records}


def figures(given: Inputs, output: Path) -> None:
    """Write all figures, ``<output>/<data set>/<name>.{pdf,png,csv}``, as :func:`report` does."""
    collection = _collect(given)
    with appearing(output) as directory:
        directory.mkdir()
        draw(collection, directory)


def figure(name: str, given: Inputs, output: Path) -> None:
    """Write one figure for each data set, ``<output>/<data set>/<name>.{pdf,png,csv}``; others there stay.

    Raises:
        JetloomError: no such figure, or no data set that has anything to show in it.
    """
    collection = _collect(given)
    known = names(collection.datasets)
    if name not in known:
        raise JetloomError(f"no figure {name!r}; allowed: {', '.join(known)}")
    if not draw(collection, output, name):
        datasets = ", ".join(dataset.name for dataset in collection.datasets)
        raise JetloomError(f"figure {name}: the results of {datasets} hold nothing to show in it")


def _collect(given: Inputs) -> Collection:
    """The results, which belong together and to the configuration, under its titles."""
    collection = read(given)
    if given.config is None:
        check(collection)
        return collection
    config = yaml.safe_load(given.config.read_text())
    # By hand, a file of titles alone will do.
    check(collection, parse_experiment(config) if config.keys() >= NEEDED else None)
    return titled(collection, config)


def _efficiency(collection: Collection, resources: Path) -> Table | None:
    used = {
        "train_model": [use for _, result in collection.trainings if (use := result.training.get("gpu_use"))],
        "evaluate": [use for _, result in collection.trainings if (use := result.metrics.get("gpu_use"))],
    }
    rows = summarise(stored_jobs(resources), used)
    return table_of_efficiency(rows) if rows else None
