"""Files that appear under their name complete or not at all."""

import errno
import glob
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jetloom.errors import JetloomError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: on the disk, in the user's quota, within the limit of one file."""
ABANDONED = 86400.0
"""Seconds after which a file that a process on another host has not touched counts as left behind."""


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write a file or directory under; it takes its place when all of it is on the disk.

    The name is of this process alone, so that two which write the same do not spoil each other's file. What killed
    processes left is removed first, and whatever is there after a failure.

    Raises:
        JetloomError: no room, with what to do.
    """
    partial = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
            if left == partial or _abandoned(left, path.name):
                _remove(left)
        yield partial
        _flush(partial)
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except Exception as error:
        if reason := _no_room(error):
            raise full(reason, path) from None
        raise
    finally:
        _remove(partial)


def read_json(path: Path, *, missing: str, damaged: str) -> Any:
    """Content of a JSON file.

    Args:
        path: the file.
        missing: where such a file comes from.
        damaged: what to do with one that is no JSON.

    Raises:
        JetloomError: no such file, or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise JetloomError(f"{path}: no such file; {missing}") from None
    except ValueError as error:
        raise JetloomError(f"{path}: not JSON ({error}); {damaged}") from None


def full(error: OSError, path: Path | str) -> JetloomError:
    """What to tell a user whose disk has no room for ``path``."""
    return JetloomError(f"{path}: {os.strerror(error.errno or errno.ENOSPC)}; make room and give the command again")


def _abandoned(partial: Path, name: str) -> bool:
    """Whether the process is dead that was writing; of one on another host, whether it has not written for a day."""
    host, _, pid = partial.name[len(name) + 2 : -len(".partial")].rpartition("-")
    if host == socket.gethostname() and pid.isdigit():
        # Seldom asked, and each verb would import it.
        import psutil

        return not psutil.pid_exists(int(pid))
    try:
        return time.time() - partial.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def _no_room(error: BaseException | None) -> OSError | None:
    # Libraries stumble over their half-written files and raise something else in the end.
    while error is not None and not (isinstance(error, OSError) and error.errno in FULL):
        error = error.__cause__ or error.__context__
    return error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    # Network file systems say only now that the disk is full, and a node that dies may keep a name without its bytes.
    with suppress(FileNotFoundError):
        for file in (path.rglob("*"), [path])[path.is_file()]:
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
