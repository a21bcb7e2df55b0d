"""Jobs of a cluster that a dead workflow has left behind."""

import re
import shutil
import subprocess
import time
from pathlib import Path

from jetloom.errors import JetloomError

OURS = re.compile(r"(rule|group)_")
"""How the comment of a job begins that Snakemake's SLURM plugin has submitted."""
PATIENCE = 120.0
"""Seconds in which a cancelled job has to be gone; a training saves its state first."""


def cancel_orphans(directory: Path) -> list[str]:
    """End the SLURM jobs that a workflow in ``directory`` has submitted, and wait until they are gone.

    A workflow that was killed comes back without them: it would submit the same trainings again, beside those that
    still run. A cancelled training saves its state, from which the new job goes on.

    Args:
        directory: a project's, whose workflow runs nowhere (Snakemake's lock on it says so).

    Returns:
        One line for each job: id and rule.

    Raises:
        JetloomError: SLURM does not answer, or a job is still there after two minutes.
    """
    if shutil.which("squeue") is None:
        return []
    jobs = _jobs(directory)
    if jobs:
        _ask("scancel", *jobs)
    deadline = time.monotonic() + PATIENCE
    while left := [job for job in _jobs(directory) if job in jobs]:
        if time.monotonic() > deadline:
            raise JetloomError(f"SLURM job {left[0]} of the workflow before does not end; try again when it is gone")
        time.sleep(1)
    return [f"{job} {name}" for job, name in jobs.items()]


def _jobs(directory: Path) -> dict[str, str]:
    """Ids and comments of this user's jobs that wait or run for the directory."""
    rows = (line.split("|", 2) for line in _ask("squeue", "--me", "--noheader", "--format=%A|%Z|%k").splitlines())
    return {job: comment for job, place, comment in rows if OURS.match(comment) and Path(place).resolve() == directory}


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise JetloomError(f"{command[0]}: {why}")
    return done.stdout
