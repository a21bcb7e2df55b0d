"""The figures of all data sets, several at a time."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from jetloom.drawing.style import Look, looks, publication_style, save
from jetloom.errors import JetloomError
from jetloom.report.figures import drawn, figures_of
from jetloom.report.page.render import Drawn
from jetloom.results.collection import Collection


def looks_of(collection: Collection) -> dict[str, Look]:
    """A look for each model, the same with few labelled jets and with many."""
    arms = {entry.model: entry.arm[0] for dataset in collection.datasets for entry in dataset.entries}
    of = looks(list(dict.fromkeys(arms.values())))
    return {model: of[arm] for model, arm in arms.items()}


def draw(
    collection: Collection, output: Path, only: str | None = None, processes: int = 1
) -> dict[tuple[str, str], Drawn]:
    """Write ``<output>/<data set>/<name>.{pdf,png,csv}``.

    Args:
        collection: what is shown.
        output: directory.
        only: name of a figure; None: all.
        processes: that draw at the same time.

    Returns:
        What the page needs of each figure, by data set and name.

    Raises:
        JetloomError: a process was killed.
    """
    colors = looks_of(collection)
    wanted = [
        (dataset, name, kind)
        for dataset in collection.datasets
        for name, kind in figures_of(dataset).items()
        if only in (None, name)
    ]

    def one(number: int) -> Drawn | None:
        dataset, name, kind = wanted[number]
        drawing, fewer = drawn(kind, dataset, colors, collection.datasets)
        if drawing is None:
            return None
        save(drawing, output / dataset.name / name)
        return Drawn(drawing.plots, fewer)

    with publication_style():
        figures = _each(one, len(wanted), processes)
    return {
        (dataset.name, name): figure
        for (dataset, name, _), figure in zip(wanted, figures, strict=True)
        if figure is not None
    }


def _each(work: Callable[[int], Drawn | None], number: int, processes: int) -> list[Drawn | None]:
    if processes == 1:
        return [work(index) for index in range(number)]
    # A fork has the collection already; it need not be told.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, _take, (work,)) as pool:
        try:
            return list(pool.map(_do, range(number)))
        except BrokenProcessPool:
            raise JetloomError("report: a drawing process was killed (out of memory?); use --threads 1") from None


_work: Callable[[int], Drawn | None]


def _take(work: Callable[[int], Drawn | None]) -> None:
    global _work
    _work = work


def _do(index: int) -> Drawn | None:
    return _work(index)
