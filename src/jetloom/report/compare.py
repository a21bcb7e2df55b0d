"""``jetloom compare``: finished experiments, read from their directories, as tables."""

from collections.abc import Sequence
from pathlib import Path

from jetloom.drawing.style import looks
from jetloom.errors import JetloomError
from jetloom.report.shows import read
from jetloom.report.tables.comparison import compare as compared
from jetloom.report.tables.render import markdown, write
from jetloom.results.inputs import inputs
from jetloom.system.files import appearing


def compare(directories: Sequence[Path], output: Path | None) -> str:
    """Tables of the data sets that several experiments have.

    Args:
        directories: finished experiments with their ``provenance.json``; the first is the reference.
        output: directory to write ``<data set>.{html,tex,csv,md}`` to; None: only the text is wanted.

    Returns:
        The tables as Markdown, or the names of the files that were written.

    Raises:
        JetloomError: the same directory twice, one without record, or no data set in common.
    """
    if len({directory.resolve() for directory in directories}) < len(directories):
        raise JetloomError("compare: the same experiment is given twice")
    # Two runs of one experiment on different machines lie in directories of the same name.
    short = len({directory.name for directory in directories}) == len(directories)
    experiments = {directory.name if short else str(directory): read(inputs(directory)) for directory in directories}
    tables = compared(experiments)
    if output is None:
        return "\n".join(markdown(table) for table in tables.values())
    models = [model for collection in experiments.values() for model in collection.models]
    with appearing(output) as partial:
        partial.mkdir()
        for name, table in tables.items():
            write(table, partial / name, looks(list(dict.fromkeys(models))))
    return "".join(f"{output / name}.html\n" for name in tables)
