"""Where a result was made: machine, versions, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from jetloom.errors import JetloomError

PACKAGES = (
    "jetloom",
    "torch",
    "lightning",
    "numpy",
    "mlflow",
    "snakemake",
    "uproot",
    "awkward",
    "pythia8mc",
    "fastjet",
)


def hardware(threads: int | None = None) -> dict[str, Any]:
    """CPU and GPU names, cores, memory, and the threads in use."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _gpu(),
        "system": platform.platform(terse=True),
    }


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on, as installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git(directory: Path | None = None) -> dict[str, Any]:
    """Commit of the working directory's repository and whether it has changes; both None outside of one."""
    arguments = {"cwd": directory, "capture_output": True, "text": True, "check": False}
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **arguments)
        if commit.returncode:
            return {"commit": None, "dirty": None}
        status = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **arguments)
    except FileNotFoundError:
        return {"commit": None, "dirty": None}
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


def require_commit(directory: Path | None = None) -> None:
    """Refuse to make results that no commit describes.

    Args:
        directory: in the working tree; default: the working directory.

    Raises:
        JetloomError: no git repository, or uncommitted changes.
    """
    state = git(directory)
    where = directory or Path.cwd()
    if state["commit"] is None:
        raise JetloomError(
            f"{where}: paper: true wants results that a commit describes, and this is no git repository; "
            "run it in a clone, or set paper: false"
        )
    if state["dirty"]:
        raise JetloomError(
            f"{where}: paper: true wants results that a commit describes, and there are uncommitted changes "
            "(git status); commit them, or set paper: false"
        )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    # Only a process that works with torch has a reason to ask for its GPU.
    import sys

    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None
