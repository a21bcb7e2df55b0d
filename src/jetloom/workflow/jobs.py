"""Which jobs of a project run, where, since when, and where they write their logs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from jetloom.workflow.drivers import VARIABLE, name_of, others

LOGS = ("logs/slurm", ".snakemake/slurm_logs")
"""Where the SLURM plugin writes: as the profile says, and by itself."""


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        where: process on this machine, or SLURM job and node.
        state: ``RUNNING``, or what SLURM says.
        since: when it started; empty for one that waits.
        what: rule and wildcards, or the command.
        log: file, from the project's directory; empty if there is none.
    """

    where: str
    state: str
    since: str
    what: str
    log: str


def jobs(directory: Path) -> list[Job]:
    """Workflows at work in a project, their jobs on this machine, and the project's jobs in SLURM."""
    found = []
    for owner in others(directory):
        where = f"{owner['host']}, process {owner['pid']}"
        found.append(Job(where, "RUNNING", _time(owner["started"]), "the workflow", _newest_log(directory)))
        found += _on_this_machine(directory, owner)
    return found + list(_in_slurm(directory))


def _on_this_machine(directory: Path, owner: dict[str, Any]) -> Iterator[Job]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(VARIABLE) != name_of(owner):
                continue
            command, log = process.cmdline(), _standard_output(process.pid)
            # Below each job are the shell that Snakemake starts it with and helpers of its own.
            verb = next((at for at, word in enumerate(command) if Path(word).name == "jetloom"), None)
            parent = process.parent()
            again = parent is not None and any(Path(word).name == "jetloom" for word in parent.cmdline()[:2])
            if verb is None or again or "-c" in command[:2]:
                continue
            yield Job(
                f"{owner['host']}, process {process.pid}",
                "RUNNING",
                _time(process.create_time()),
                " ".join(["jetloom", *command[verb + 1 : verb + 3]]),
                _from(directory, log),
            )
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def _in_slurm(directory: Path) -> Iterator[Job]:
    if shutil.which("squeue") is None:
        return
    command = ["squeue", "--me", "--noheader", "--format=%A|%T|%N|%S|%r|%Z|%k"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        # Not configured on this machine, or its controller is away; what runs here is worth knowing all the same.
        yield Job("SLURM", "UNKNOWN", "", (done.stderr.strip().splitlines() or ["squeue says nothing"])[-1], "")
        return
    for line in done.stdout.splitlines():
        number, state, node, began, reason, place, comment = line.split("|", 6)
        if Path(place).resolve() != directory.resolve() or not comment.startswith(("rule_", "group_")):
            continue
        waits = not node
        log = next((path for logs in LOGS for path in (directory / logs).glob(f"**/{number}.log")), None)
        yield Job(
            f"SLURM job {number}" + (f" on {node}" if node else ""),
            f"{state} ({reason})" if waits else state,
            "" if waits else began.replace("T", " "),
            comment.removeprefix("rule_").replace("_wildcards_", " ") if comment.startswith("rule_") else comment,
            _from(directory, log),
        )


def _standard_output(pid: int) -> Path | None:
    try:
        path = Path(os.readlink(f"/proc/{pid}/fd/1"))
    except OSError:
        return None
    return path if path.is_file() else None


def _newest_log(directory: Path) -> str:
    logs = sorted((directory / ".snakemake" / "log").glob("*.log"))
    return _from(directory, logs[-1] if logs else None)


def _from(directory: Path, path: Path | None) -> str:
    if path is None:
        return ""
    return os.path.relpath(path, directory) if path.is_relative_to(directory) else str(path)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
