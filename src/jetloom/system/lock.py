"""One training at a time in a scratch directory."""

import errno
import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from jetloom.errors import JetloomError
from jetloom.system.files import FULL, full

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
    threading.Thread(target=beat, args=(path, ended, identity()), name="lock", daemon=True).start()
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
        except OSError as error:
            # Some network file systems know no such lock; what the file says has to do there.
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
        if not _is_at(path, file):
            file.close()
            continue
        owner = _read(file)
        if owner is not None and alive(path, owner, "trains here"):
            file.close()
            raise _held(path, owner)
        try:
            file.truncate(0)
            file.write(json.dumps(identity()))
            file.flush()
        except OSError as error:
            with suppress(OSError):
                file.close()
            raise full(error, path) if error.errno in FULL else error from None
        return file


def _held(path: Path, owner: dict[str, Any] | None) -> JetloomError:
    who = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
    return JetloomError(f"{path}: {who} trains here; wait for it or end it")


def identity() -> dict[str, Any]:
    """Who this process is: ``host``, ``pid`` and, since process ids are used again, ``started`` (since 1970)."""
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def _read(file: IO[str]) -> dict[str, Any] | None:
    file.seek(0)
    try:
        owner: dict[str, Any] = json.load(file)
    except json.JSONDecodeError:
        return None
    return owner


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def alive(path: Path, owner: dict[str, Any], doing: str) -> bool:
    """Whether the process that a file names is at work; on another host, whether the file's time goes on.

    Args:
        path: of the file.
        owner: as of :func:`identity`.
        doing: what it does there, for the user who waits.
    """
    if owner["host"] != socket.gethostname():
        return not _silent(path, owner, doing)
    try:
        process = psutil.Process(owner["pid"])
        same = owner["pid"] != os.getpid() and abs(process.create_time() - owner["started"]) < 2
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _silent(path: Path, owner: dict[str, Any], doing: str) -> bool:
    """Watch the file's time; by this host's clock alone, so that the other's may be wrong."""
    who = f"process {owner['pid']} on {owner['host']}"
    print(f"{path}: {who} {doing}, if it lives; waiting {SILENCE:.0f} s for a sign of it", flush=True)
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


def beat(path: Path, ended: threading.Event, own: dict[str, Any] | None = None) -> None:
    """Give signs of life until ``ended`` is set.

    Args:
        path: file that names this process.
        own: its content. Whoever was halted for so long that another one took over ends when it wakes.
    """
    while not ended.wait(BEAT):
        # A file server that is away for a moment is no reason to fall silent.
        with suppress(OSError):
            if own is not None and _replaced(path, own):
                print(f"{path}: another process goes on with this training; this one ends", file=sys.stderr, flush=True)
                os._exit(1)
            os.utime(path)


def _replaced(path: Path, own: dict[str, Any]) -> bool:
    with path.open() as file:
        owner = _read(file)
    return owner is not None and owner != own
