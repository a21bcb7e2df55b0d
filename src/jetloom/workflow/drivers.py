"""Workflows that run in one directory: who they are, and what a killed one has left there."""

import atexit
import json
import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from jetloom.errors import JetloomError
from jetloom.system.lock import alive, beat, identity

VARIABLE = "JETLOOM_WORKFLOW"
"""Of the environment of all jobs on this machine: which workflow has started them."""
PATIENCE = 120.0
"""Seconds in which a job that was told to end has to be gone; a training saves its state first."""


def enter(directory: Path, results: str = "") -> list[str]:
    """Take down that this process runs the workflow in a directory, and clear up after those that were killed.

    Their jobs on this machine are ended: they would write beside the ones that start now. Snakemake's lock is removed
    if nobody is left who could hold it.

    Args:
        directory: the project's.
        results: directory of the results that this workflow makes; another living one must not make the same.

    Returns:
        What was done, a line each.

    Raises:
        JetloomError: a living workflow makes the same results, or a job of a killed one does not end.
    """
    notes = directory / ".snakemake" / "workflows"
    notes.mkdir(parents=True, exist_ok=True)
    if results and any(owner.get("results") == results for owner in others(directory)):
        raise JetloomError(refusal(directory))
    own = identity() | {"results": results}
    note = notes / f"{own['host']}-{own['pid']}.json"
    earlier = [path for path in notes.glob("*.json") if path != note]
    note.write_text(json.dumps(own))
    os.environ[VARIABLE] = name_of(own)
    _keep(note)
    dead = [(path, owner) for path in earlier if (owner := _dead(path)) is not None]
    said = []
    for path, owner in dead:
        who = f"process {owner.get('pid')} on {owner.get('host')}"
        ended = end_jobs(owner)
        said += [f"the workflow of {who} was killed; its job {name} was ended" for name in ended]
        path.unlink(missing_ok=True)
    locks = list((directory / ".snakemake" / "locks").glob("*"))
    living = [path for path in notes.glob("*.json") if path != note]
    if locks and not living:
        for lock in locks:
            lock.unlink(missing_ok=True)
        said.append("the workflow that worked here was killed; its lock on the directory is removed")
    return said


def end_jobs(owner: dict[str, Any]) -> list[str]:
    """End what a workflow has started on this machine and left behind; names of the programs, with their ids."""
    left = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            # Jobs of a cluster have the variable too; SLURM ends those.
            here = environment.get("SLURM_JOB_ID") == os.environ.get("SLURM_JOB_ID")
            if environment.get(VARIABLE) == name_of(owner) and here and process.pid != os.getpid():
                left[process] = f"{' '.join(process.cmdline()[:3])} (process {process.pid})"
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    for process in left:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, staying = psutil.wait_procs(list(left), timeout=PATIENCE)
    if staying:
        raise JetloomError(f"{left[staying[0]]} of a killed workflow does not end; end it by hand and try again")
    return list(left.values())


def others(directory: Path) -> list[dict[str, Any]]:
    """Workflows that run in a directory beside this process: ``host``, ``pid``, ``started`` (seconds since 1970)."""
    notes = (directory / ".snakemake" / "workflows").glob("*.json")
    found = [owner for path in notes if (owner := _read(path)) is not None and _dead(path) is None]
    return [owner for owner in found if name_of(owner) != name_of(identity())]


def refusal(directory: Path) -> str:
    """Why this workflow cannot start."""
    at_work = [
        f"process {owner['pid']} on {owner['host']} (since {datetime.fromtimestamp(owner['started']):%d %B, %H:%M})"
        for owner in others(directory)
    ] or ["another workflow"]
    return (
        f"{directory}: {' and '.join(at_work)} makes the same files; wait for it or end it (if there is none any more: "
        "snakemake --unlock)"
    )


def _keep(note: Path) -> None:
    ended = threading.Event()
    threading.Thread(target=beat, args=(note, ended), name="workflow", daemon=True).start()
    process = os.getpid()

    def leave() -> None:
        ended.set()
        # A forked child ends as well.
        if os.getpid() == process:
            note.unlink(missing_ok=True)

    atexit.register(leave)


def _dead(path: Path) -> dict[str, Any] | None:
    """The owner of a note, if it is dead."""
    owner = _read(path)
    if owner is None:
        return {}
    return None if alive(path, owner, "runs the workflow") else owner


def _read(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return owner if {"host", "pid", "started"} <= owner.keys() else None


def name_of(owner: dict[str, Any]) -> str:
    """A workflow in one word, as the environment of its jobs has it."""
    return f"{owner.get('host')}-{owner.get('pid')}-{owner.get('started')}"
