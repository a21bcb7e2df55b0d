"""Files that appear under their name complete or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jetloom.errors import JetloomError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: on the disk, in the user's quota, within the limit of one file."""


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write a file or directory under; it takes its place when all of it is on the disk.

    What a killed process left under that name is removed first, and whatever is there after a failure.

    Raises:
        JetloomError: no room, with what to do.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
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


def full(error: OSError, path: Path | str) -> JetloomError:
    """What to tell a user whose disk has no room for ``path``."""
    return JetloomError(f"{path}: {os.strerror(error.errno or errno.ENOSPC)}; make room and give the command again")


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
