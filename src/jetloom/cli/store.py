"""Verbs for the directories of data that the workflow has made: list, prune."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from jetloom.cli.app import data
from jetloom.errors import JetloomError

if TYPE_CHECKING:
    from jetloom.workflow.store import Place

Results = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")]


@data.command(name="list")
def list_data(*, directory: Path = Path("data"), results: Results = (Path("results"),)) -> None:
    """List directories of raw files, skims and tensors: what they hold, how large they are, which results use them.

    Parameters
    ----------
    directory
        `data_directory` of experiments.
    results
        Directories of results.
    """
    from jetloom.workflow.store import places

    _show(places(directory, results))


@data.command(name="prune")
def prune_data(*, directory: Path = Path("data"), results: Results = (Path("results"),), yes: bool = False) -> None:
    """Remove skims, tensors and simulated files that no result uses, after asking; downloaded files always stay.

    Parameters
    ----------
    directory
        `data_directory` of experiments.
    results
        Directories of results; what experiments elsewhere use counts as unused.
    yes
        Do not ask.
    """
    from rich.filesize import decimal

    from jetloom.drivers import others
    from jetloom.workflow.store import left_behind, places, remove, unused

    if missing := [path for path in results if not path.is_dir()]:
        raise JetloomError(f"{missing[0]}: no such directory; name the directories of results with --results")
    if others(Path.cwd()):
        raise JetloomError("a workflow runs here, and its data would count as unused; wait for it")
    found = places(directory, results)
    paths = [*unused(found), *left_behind(directory)]
    if not paths:
        print(f"every directory below {directory} is used by a result in {', '.join(map(str, results))}")
        return
    _show(place for place in found if place.path in paths)
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    size = decimal(sum(file.stat().st_size for file in files))
    print(f"{len(paths)} directories and files, {size}, are used by no result in {', '.join(map(str, results))}")
    if not yes:
        if not sys.stdin.isatty():
            raise JetloomError("nothing was removed: there is no terminal to ask at; give --yes")
        if input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return
    remove(paths)
    print(f"removed {size}")


def _show(places: "Iterable[Place]") -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    table = Table("directory", "files", "size", "used by", "holds", box=None)
    for place in places:
        rest = f" ({len(place.unused)} skims by none)" if place.used_by and place.unused else ""
        who = f"{', '.join(place.used_by)}{rest}"
        table.add_row(str(place.path), f"{place.files:,}", decimal(place.bytes), who or "-", place.what)
    Console(soft_wrap=True).print(table)
