"""Verbs for the directories of data that the workflow has filled: list, prune."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from jetloom.cli.app import store
from jetloom.errors import JetloomError

Results = Annotated[tuple[Path, ...] | None, Parameter(negative="")]


@store.command(name="list")
def list_data(*, data: Path = Path("data"), results: Results = None) -> None:
    """List raw files, skims and tensors: what each directory is, how large, and which results use it.

    Those that trainings made lie among the results.

    Parameters
    ----------
    data
        `data_directory` of the workflow.
    results
        `results_directory` of the workflow (repeatable), or the directory of one experiment; default: results.
    """
    from jetloom.cli.listing import show_places
    from jetloom.workflow.derived_store import derived_places
    from jetloom.workflow.store import Store
    from jetloom.workflow.uses import uses

    found = uses([path for path in _results(results) if path.is_dir()])
    show_places([*Store(data, found).places, *derived_places(found)])
    for line in found.unclear:
        print(line)
    print(_looked_in(results, len(found.experiments)))


@store.command
def prune(*, data: Path = Path("data"), results: Results = None, yes: bool = False) -> None:
    """Remove tensors, skims and simulated raw files that no result refers to; shows them and asks first.

    Downloaded raw files always stay, and of the results everything but `derived`, the data that trainings made.

    Parameters
    ----------
    data
        `data_directory` of the workflow.
    results
        `results_directory` of the workflow (repeatable), or the directory of one experiment; default: results. Name
        all that use DATA.
    yes
        Ask nothing.
    """
    from jetloom.cli.listing import show_places, summed
    from jetloom.workflow.derived_store import derived_unused
    from jetloom.workflow.store import Store, remove
    from jetloom.workflow.uses import uses

    _alone()
    if missing := [path for path in _results(results) if not path.is_dir()]:
        raise JetloomError(f"{missing[0]}: no such directory of results; without it everything would be removed")
    found = uses(_results(results))
    if not found.experiments and not (yes and results):
        raise JetloomError(
            f"{' '.join(map(str, _results(results)))}: no results there, so that everything would be removed; if that "
            "is meant, give --results and --yes"
        )
    for line in found.unclear:
        print(line)
    print(_looked_in(results, len(found.experiments)))
    unused = [*Store(data, found).unused, *derived_unused(found)]
    if not unused:
        print(f"{data}: nothing to remove; raw files that are not simulated stay (by hand: rm -r {data}/NAME/raw)")
        return
    show_places(unused)
    print(f"Raw files that are not simulated stay; by hand: rm -r {data}/NAME/raw")
    if not yes and not _agreed():
        print("nothing was removed")
        return
    _alone()
    remove(unused)
    print(f"removed {summed(unused)}")


def _alone() -> None:
    """Refuse beside a workflow, which may be about to read what is removed."""
    from jetloom.workflow.drivers import others

    if owners := others(Path.cwd()):
        who = " and ".join(f"process {owner['pid']} on {owner['host']}" for owner in owners)
        raise JetloomError(f"{Path.cwd()}: a workflow runs here ({who}); wait for it or end it")


def _results(given: tuple[Path, ...] | None) -> tuple[Path, ...]:
    return given or (Path("results"),)


def _looked_in(given: tuple[Path, ...] | None, experiments: int) -> str:
    return f"experiments with results in {', '.join(map(str, _results(given)))}: {experiments}"


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise JetloomError("data prune: asks before it removes, and there is no terminal to ask at; give --yes")
    try:
        return input("Remove them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
