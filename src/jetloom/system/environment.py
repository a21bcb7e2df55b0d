"""Where a result was made: machine, versions, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from jetloom.errors import JetloomError

SOURCE = Path(__file__).resolve().parents[1]
"""Directory of jetloom's own source."""
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


def git() -> dict[str, Any]:
    """Commit of jetloom's own source and whether it has changes, both None if it is installed and no clone.

    ``project`` is the same of the working directory's repository, where that is another one: a project may use the
    workflow as a module, or run it with ``--directory``.
    """
    own, project = _repository(SOURCE), _repository(Path.cwd())
    state = _state(own)
    return state if project in (None, own) else state | {"project": _state(project)}


def _repository(directory: Path) -> Path | None:
    """The working tree that a directory is in; of the source only if it is one of its files.

    An environment may lie in another project's clone, which does not keep the packages in it.
    """
    top = _git(directory, "rev-parse", "--show-toplevel")
    if top is None or (directory == SOURCE and _git(directory, "ls-files", "--error-unmatch", __file__) is None):
        return None
    return Path(top)


def _state(repository: Path | None) -> dict[str, Any]:
    commit = _git(repository, "rev-parse", "HEAD") if repository else None
    if not repository or not commit:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(_git(repository, "status", "--porcelain", "--untracked-files=no"))}


def _git(directory: Path, *arguments: str) -> str | None:
    """What git answers; None if it refuses, or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()


def require_commit() -> None:
    """Refuse to make results that no commit describes: of the project, and of jetloom where it is a clone.

    Raises:
        JetloomError: no git repository, or uncommitted changes.
    """
    here = Path.cwd()
    own, project = _repository(SOURCE), _repository(here)
    if project is None or _state(project)["commit"] is None:
        raise JetloomError(
            f"{here}: paper: true wants results that a commit describes, and this is no git repository; "
            "run it in a clone, or set paper: false"
        )
    for repository in dict.fromkeys((project, own)):
        if repository and _state(repository)["dirty"]:
            raise JetloomError(
                f"{repository}: paper: true wants results that a commit describes, and there are uncommitted changes "
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
