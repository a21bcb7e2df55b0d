"""One training at a time in a scratch directory."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from jetloom.errors import JetloomError


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold ``directory/lock``, a file that names host, process and its start; that of a dead process is taken over.

    Raises:
        JetloomError: a living process holds it, or one on another host, which cannot be asked.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "lock"
    mine = _identity(os.getpid())
    while True:
        try:
            with path.open("x") as file:
                json.dump(mine, file)
            break
        except FileExistsError:
            owner = _read(path)
            if owner is not None and _alive(owner):
                raise JetloomError(
                    f"{path}: process {owner['pid']} on {owner['host']} trains here; wait for it, or remove the file "
                    "if that process has ended"
                ) from None
            path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _identity(pid: int) -> dict[str, object]:
    # A process id is used again; with the start time it is not.
    return {"host": socket.gethostname(), "pid": pid, "started": psutil.Process(pid).create_time()}


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _alive(owner: dict) -> bool:
    if owner["host"] != socket.gethostname():
        # A requeued cluster job may start on another host; the batch system has ended the first try by then.
        return os.environ.get("SLURM_JOB_ID") is None
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 2
    except psutil.NoSuchProcess:
        return False
