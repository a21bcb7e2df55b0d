"""The GPUs of a machine that several programs share, each taken by one of them."""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from jetloom.errors import JetloomError

SHARED = "JETLOOM_SHARED_GPUS"
"""Variable that the workflow sets for its jobs on this machine: the GPUs at which they take turns."""
PATIENCE = 0.5
"""Seconds between two looks for a free GPU."""
UUID = re.compile(r"\(UUID: ([^)\s]+)\)")
LISTED = re.compile(rf"^GPU (\d+):.*{UUID.pattern}((?:\n[ \t]+MIG .*)*)", re.MULTILINE)
"""A GPU in the list of nvidia-smi: number, UUID, and the lines of its parts."""


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


def driver() -> str | None:
    """Version of the driver of the GPUs; None: it does not say."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return next(iter(asked.stdout.split()), None) if asked.returncode == 0 else None


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
        _claim(count, names)


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
    if shutil.which(command[0]) is None:
        raise JetloomError(f"{command[0]}: no such program")
    _claim(count, visible())
    os.execvp(command[0], list(command))


def _claim(count: int, names: Sequence[str]) -> None:
    """Lock GPUs and let this process, and what it becomes, see no others."""
    devices = _devices(names)
    if count > len(devices):
        raise JetloomError(f"{count} GPUs asked for, but this machine shows {len(devices)}; lower training.devices")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_take(count, devices))
    # Numbers then mean what they mean to nvidia-smi, by which the locks are named.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def _devices(names: Sequence[str]) -> dict[str, str]:
    """UUID of each GPU: the name it was called by, a number, a UUID or the beginning of one.

    Where ``nvidia-smi`` does not say which it is, the name stands for the UUID.
    """
    uuids = _uuids()
    known = dict.fromkeys(uuid for parts in uuids.values() for uuid in parts)
    devices: dict[str, str] = {}
    for name in names:
        found = uuids.get(name, [])[:1] or [uuid for uuid in known if uuid.startswith(name)]
        devices.setdefault(found[0] if len(found) == 1 else name, name)
    return devices


def _uuids() -> dict[str, list[str]]:
    """UUIDs of a GPU by its number and by its own: this one, or those of the parts that it is divided into (MIG)."""
    if shutil.which("nvidia-smi") is None:
        return {}
    asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    uuids: dict[str, list[str]] = {}
    for number, own, parts in LISTED.findall(asked.stdout if asked.returncode == 0 else ""):
        uuids[number] = uuids[own] = UUID.findall(parts) or [own]
    return uuids


def _take(count: int, devices: Mapping[str, str]) -> list[str]:
    """Lock so many GPUs, the first free ones; all or none, so that two waiting commands do not block each other."""
    directory = _private(Path(tempfile.gettempdir()) / f"jetloom-gpus-{os.getuid()}")
    said = False
    while True:
        held: dict[str, int] = {}
        for uuid, name in devices.items():
            if len(held) < count and (lock := _lock(directory / uuid.replace("/", "_"))) is not None:
                held[name] = lock
        if len(held) == count:
            for lock in held.values():
                os.set_inheritable(lock, True)
            return list(held)
        for lock in held.values():
            os.close(lock)
        if not said:
            print(f"waiting for {count} of {len(devices)} GPUs", flush=True)
            said = True
        time.sleep(PATIENCE)


def _private(directory: Path) -> Path:
    """A directory of this user alone, made if it is not there: in a shared one anybody may have made it before.

    Raises:
        JetloomError: it is somebody else's, open to others, or no directory.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise JetloomError(
            f"{directory}: not a directory of yours alone, so its locks cannot be trusted; remove it, or set TMPDIR to "
            "another directory"
        )
    return directory


def _lock(path: Path) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
