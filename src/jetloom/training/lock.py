"""One training at a time in a scratch directory."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from jetloom.errors import JetloomError
from jetloom.files import FULL, full

BEAT = 20.0
"""Seconds between two signs of life of an owner."""
SILENCE = 90.0
"""An owner on another host, which cannot be asked, is dead after so many seconds without one."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold ``directory/lock``, a file that names host, process and its start; that of a dead process is taken over.

    The kernel's own lock on the file ends with its owner, so a dead one on this host needs no further thought. For an
    owner on another host (a cluster job that was started again elsewhere) the file's time must stand still for a while.

    Raises:
        JetloomError: a living process holds it.
    """
    path = directory / "lock"
    file = _acquire(path)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(path, ended), name="lock", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        # Before the file is closed: whoever opens it now sees that it is no longer the one at this path.
        path.unlink(missing_ok=True)
        file.close()


def _acquire(path: Path) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _read(file)
            file.close()
            raise _held(path, owner) from None
        if not _is_at(path, file):
            file.close()
            continue
        owner = _read(file)
        if owner is not None and _alive(path, owner):
            file.close()
            raise _held(path, owner)
        try:
            file.truncate(0)
            file.write(json.dumps(_identity()))
            file.flush()
        except OSError as error:
            with suppress(OSError):
                file.close()
            raise full(error, path) if error.errno in FULL else error from None
        return file


def _held(path: Path, owner: dict[str, Any] | None) -> JetloomError:
    who = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
    return JetloomError(f"{path}: {who} trains here; wait for it or end it")


def _identity() -> dict[str, Any]:
    # A process id is used again; with the start time it is not.
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def _read(file: IO[str]) -> dict[str, Any] | None:
    file.seek(0)
    try:
        return json.load(file)
    except json.JSONDecodeError:
        return None


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _alive(path: Path, owner: dict[str, Any]) -> bool:
    if owner["host"] != socket.gethostname():
        return not _silent(path, owner)
    try:
        # Not all network file systems know the kernel's lock.
        return owner["pid"] != os.getpid() and abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 2
    except psutil.NoSuchProcess:
        return False


def _silent(path: Path, owner: dict[str, Any]) -> bool:
    """Watch the file's time; by this host's clock alone, so that the other's may be wrong."""
    print(f"{path}: process {owner['pid']} on {owner['host']} trained here; waiting for a sign of life", flush=True)
    began, first = time.monotonic(), _time_of(path)
    while time.monotonic() - began < SILENCE:
        time.sleep(min(5.0, SILENCE / 10))
        if _time_of(path) != first:
            return False
    return True


def _time_of(path: Path) -> int:
    # Opened anew: a network file system asks its server only then.
    with path.open() as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(FileNotFoundError):
            os.utime(path)
