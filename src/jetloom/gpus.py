"""The GPUs of a machine that several programs share, each taken by one of them."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from jetloom.errors import JetloomError

SHARED = "JETLOOM_SHARED_GPUS"
"""Variable that the workflow sets for its jobs on this machine: the GPUs at which they take turns."""
PATIENCE = 0.5
"""Seconds between two looks for a free GPU."""


def visible(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names by which ``CUDA_VISIBLE_DEVICES`` calls the GPUs that this process may use: its own choice, or all.

    Costs 50 ms where ``nvidia-smi`` is installed, nothing elsewhere; torch would take seconds.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    # The tool is there but no driver, as on many login nodes.
    return asked.stdout.split() if asked.returncode == 0 else []


def share() -> list[str]:
    """Tell the jobs that this process starts to take turns at its GPUs; their names."""
    names = visible()
    os.environ[SHARED] = ",".join(names)
    return names


def take_shared(count: int) -> None:
    """Lock GPUs of those that jobs share and see no others; nothing where there are none.

    Raises:
        JetloomError: there are fewer.
    """
    if names := visible():
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_take(_enough(count, names), names))


def run_with_gpus(count: int, command: Sequence[str]) -> NoReturn:
    """Become ``command``, which sees ``count`` GPUs that no other command started in this way has.

    Waits for free ones. The kernel's lock on a file per GPU is inherited by the command and its children, and ends
    with the last of them, however they end.

    Args:
        count: GPUs, 1 or more.
        command: program and arguments.

    Raises:
        JetloomError: the machine does not have so many, or there is no such program.
    """
    names = visible()
    _enough(count, names)
    if shutil.which(command[0]) is None:
        raise JetloomError(f"{command[0]}: no such program")
    taken = _take(count, names)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    os.execvp(command[0], list(command))


def _enough(count: int, names: Sequence[str]) -> int:
    if count > len(names):
        raise JetloomError(f"{count} GPUs asked for, but this machine shows {len(names)}; lower training.devices")
    return count


def _take(count: int, names: Sequence[str]) -> list[str]:
    """Lock so many GPUs, the first free ones; all or none, so that two waiting commands do not block each other."""
    directory = Path(tempfile.gettempdir()) / f"jetloom-gpus-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    said = False
    while True:
        held: dict[str, int] = {}
        for name in names:
            if len(held) < count and (lock := _lock(directory / name.replace("/", "_"))) is not None:
                held[name] = lock
        if len(held) == count:
            for lock in held.values():
                os.set_inheritable(lock, True)
            return list(held)
        for lock in held.values():
            os.close(lock)
        if not said:
            print(f"waiting for {count} of {len(names)} GPUs", flush=True)
            said = True
        time.sleep(PATIENCE)


def _lock(path: Path) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
