"""The figures of all data sets, several at a time."""

from pathlib import Path
from typing import NamedTuple

from jetloom.drawing.style import Look, looks, publication_style, save
from jetloom.report.figures import drawn, figures_of
from jetloom.report.page.render import Drawn
from jetloom.results.collection import Collection
from jetloom.system.workers import shared


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
    wanted = [
        (number, name)
        for number, dataset in enumerate(collection.datasets)
        for name in figures_of(dataset)
        if only in (None, name)
    ]
    work = _Work(collection, looks_of(collection), output)
    if processes == 1:
        figures = [work.draw(task) for task in wanted]
    else:
        killed = "report: a drawing process was killed (out of memory?); use --threads 1"
        with shared(_draw, wanted, processes, _start, work, killed=killed) as coming:
            figures = [figure.result() for figure in coming]
    return {
        (collection.datasets[number].name, name): figure
        for (number, name), figure in zip(wanted, figures, strict=True)
        if figure is not None
    }


class _Work(NamedTuple):
    collection: Collection
    colors: dict[str, Look]
    output: Path

    def draw(self, task: tuple[int, str]) -> Drawn | None:
        """A figure of a data set, by the number of that and the name of this."""
        number, name = task
        datasets = self.collection.datasets
        dataset = datasets[number]
        with publication_style():
            drawing, fewer = drawn(figures_of(dataset)[name], dataset, self.colors, datasets)
            if drawing is None:
                return None
            save(drawing, self.output / dataset.name / name)
        return Drawn(drawing.plots, fewer)


_work: _Work


def _start(work: _Work) -> None:
    """In a process of its own."""
    global _work
    _work = work


def _draw(task: tuple[int, str]) -> Drawn | None:
    return _work.draw(task)
