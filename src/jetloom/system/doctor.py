"""What a machine lacks for the workflow, each with what to do. Nothing heavy is imported: the answer comes at once."""

import fcntl
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
import yaml
from packaging.requirements import Requirement

from jetloom.system.gpus import visible

ROOM = 2e9
"""Bytes that the demo and its environment's caches need at least."""
PORT = 5000
"""Of ``jetloom mlflow ui``."""
SKEW = 2.0
"""Seconds by which the clocks of a machine and of its file server may differ: Snakemake compares times of files."""
PATIENCE = 10.0
"""Seconds that another program may take to answer."""
FILESYSTEM = "no file can be written there"
INSTALL = "make install, or pip install -r envs/requirements.lock"


class Check(NamedTuple):
    """One line of the answer.

    Attributes:
        name: what was looked at.
        state: ``missing`` is something that the main path needs, ``note`` something that some use of it needs.
        found: what is there.
        advice: what to do; empty if nothing.
    """

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


def checks(directories: Mapping[str, Path], *, gpus: bool = False, port: int = PORT) -> Iterator[Check]:
    """Look at this machine.

    Args:
        directories: where the workflow writes, by their names in the configuration; they need not be there yet.
        gpus: ask torch whether it can use the GPUs, which takes seconds.
        port: that MLflow's UI will take.
    """
    yield python()
    yield packages()
    yield simulation()
    yield commit()
    yield processor()
    yield compiler()
    yield graphics()
    if gpus:
        yield torch_sees()
    yield slurm(Path("profiles/slurm/partitions.yaml"))
    for name, directory in directories.items():
        yield disk(name, directory)
    yield locks(next(iter(directories.values()), Path()))
    yield clock(next(iter(directories.values()), Path()))
    yield free_port(port)


def python(found: Sequence[int] = sys.version_info[:3]) -> Check:
    """The interpreter is one that the package is for."""
    shown = ".".join(map(str, found[:3]))
    if tuple(found[:2]) < (3, 11):
        return Check("python", "missing", shown, "3.11 or newer is needed: make PYTHON=python3.11 install")
    return Check("python", "ok", f"{shown} ({sys.executable})")


def packages(wanted: Sequence[str] | None = None) -> Check:
    """The packages that jetloom requires are installed, in versions that it takes.

    Args:
        wanted: requirements; default: those of jetloom itself.
    """
    try:
        needed = [Requirement(text) for text in (requires("jetloom") or [] if wanted is None else wanted)]
    except PackageNotFoundError:
        return Check("packages", "missing", "jetloom itself is not installed", INSTALL)
    problems = [
        problem
        for item in needed
        if (item.marker is None or item.marker.evaluate({"extra": ""})) and (problem := _unfit(item))
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        return Check("packages", "missing", f"{', '.join(problems[:3])}{more}", INSTALL)
    return Check("packages", "ok", f"jetloom {version('jetloom')}, torch {version('torch')}, and what they need")


def _unfit(item: Requirement) -> str | None:
    try:
        found = version(item.name)
    except PackageNotFoundError:
        return f"no {item.name}"
    return None if item.specifier.contains(found, prereleases=True) else f"{item.name} {found}, not {item.specifier}"


def simulation() -> Check:
    """Pythia and FastJet, of which the demo's jets are made."""
    absent = [name for name in ("pythia8mc", "fastjet") if find_spec(name) is None]
    if absent:
        advice = f"for simulated jets: pip install 'jetloom[simulate]', or {INSTALL}; public data sets need none"
        return Check("simulation", "note", f"no {' and no '.join(absent)}", advice)
    return Check("simulation", "ok", f"pythia8mc {version('pythia8mc')}, fastjet {version('fastjet')}")


def commit() -> Check:
    """Git, by which a result says from which commit it is."""
    if shutil.which("git") is None:
        return Check("git", "note", "none", "install it: without, results do not say which commit made them")
    return Check("git", "ok", _answer(["git", "--version"]).removeprefix("git version "))


def processor() -> Check:
    """Cores that this process may use, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory().available / 1e9
    found = f"{cores} cores ({platform.machine()}), {memory:.1f} GB of memory free"
    if memory < 4:
        return Check(
            "processor", "note", found, "trainings ask for 4 GB: end other programs, or give --resources mem_mb=…"
        )
    return Check("processor", "ok", found)


def compiler(environment: Mapping[str, str] = os.environ) -> Check:
    """A C compiler, with which Triton builds what runs on a GPU."""
    names = [environment["CC"]] if environment.get("CC") else ["cc", "gcc", "clang"]
    path = next((found for name in names if (found := shutil.which(name, path=environment.get("PATH")))), None)
    if path is None:
        advice = "only Triton's kernels on GPUs need one: install gcc, or set CC"
        return Check("compiler", "note", f"no {' or '.join(names)}", advice)
    return Check("compiler", "ok", path)


def graphics() -> Check:
    """NVIDIA GPUs and their driver, as ``nvidia-smi`` sees them."""
    if shutil.which("nvidia-smi") is None:
        return Check("GPU", "note", "no nvidia-smi", "trainings run on the CPU; for GPUs install NVIDIA's driver")
    asked = _answer(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    if not asked or asked.count(",") < 2:
        said = f": {asked.splitlines()[0]}" if asked else ""
        return Check(
            "GPU", "note", f"the driver does not answer{said}", "on a login node as expected; else reinstall it"
        )
    lines = asked.splitlines()
    name, driver, memory = (part.strip() for part in lines[0].split(",")[:3])
    found = f"{len(lines)} x {name}, {memory}, driver {driver}"
    if not visible():
        return Check("GPU", "note", found, "CUDA_VISIBLE_DEVICES hides all of them: unset it")
    built, driven = _cuda_of_torch(), _cuda_of_driver()
    if built and driven and int(built.split(".")[0]) > int(driven.split(".")[0]):
        advice = f"torch is built for CUDA {built}: renew the driver, or install a torch for CUDA {driven}"
        return Check("GPU", "note", f"{found}, which knows CUDA {driven}", advice)
    return Check("GPU", "ok", found)


def _cuda_of_torch() -> str | None:
    """The CUDA that torch is built for, without importing it."""
    spec = find_spec("torch")
    source = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    text = source.read_text() if source and source.is_file() else ""
    match = re.search(r"^cuda\b.*?'([\d.]+)'", text, re.MULTILINE)
    return match[1] if match else None


def _cuda_of_driver() -> str | None:
    match = re.search(r"CUDA Version: ([\d.]+)", _answer(["nvidia-smi"]))
    return match[1] if match else None


def torch_sees() -> Check:
    """Whether torch can use the GPUs; imports it."""
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"built for CUDA {built}" if built else "built without CUDA"
        return Check("torch", "note", f"{torch.__version__}, {why}, sees no GPU", "see the line of the GPU")
    torch.ones(2, device="cuda").sum().item()
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("torch", "ok", f"{torch.__version__} computes on {len(names)} x {names[0]}")


def slurm(partitions: Path) -> Check:
    """SLURM's commands, its controller, and whether the profile names partitions that there are.

    Args:
        partitions: the profile's file of partitions.
    """
    absent = [name for name in ("sbatch", "squeue", "sinfo", "scancel") if shutil.which(name) is None]
    if len(absent) == 4:
        return Check("SLURM", "note", "none", "snakemake --profile slurm needs a login node of a cluster")
    if absent:
        return Check("SLURM", "note", f"no {', '.join(absent)}", "the profile needs all of SLURM's client commands")
    asked = _answer(["sinfo", "--noheader", "--format=partition=%R"])
    there = sorted(set(re.findall(r"^partition=(.+)$", asked, re.MULTILINE)))
    if not there:
        said = (asked.splitlines() or [f"sinfo says nothing in {PATIENCE:.0f} s"])[-1]
        return Check("SLURM", "note", said, "the controller does not answer: ask whoever runs the cluster")
    try:
        named = (yaml.safe_load(partitions.read_text()) or {}).get("partitions", {}) if partitions.is_file() else {}
    except yaml.YAMLError as error:
        return Check("SLURM", "note", f"{partitions}: no YAML ({str(error).splitlines()[0]})", "mend it")
    if unknown := [name for name in named if name not in there]:
        found = f"partitions {', '.join(there)}, not {', '.join(unknown)} of {partitions}"
        return Check("SLURM", "note", found, "write the cluster's own partitions there (lines marked SITE)")
    return Check("SLURM", "ok", f"partitions {', '.join(there)}")


def disk(name: str, directory: Path) -> Check:
    """Room on the file system of a directory, and that it can be written to."""
    place = _existing(directory)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(
            name, "missing", f"{directory}: {FILESYSTEM} ({error.strerror})", f"set {name} in the configuration"
        )
    free = shutil.disk_usage(place).free
    found = f"{directory}: {free / 1e9:,.1f} GB free"
    if free < ROOM:
        return Check(name, "missing", found, f"make room ({ROOM / 1e9:.0f} GB), or set {name} in the configuration")
    return Check(name, "ok", found)


def locks(directory: Path) -> Check:
    """Locks on files, which keep two workflows, trainings or downloads apart."""
    try:
        with tempfile.TemporaryFile(dir=_existing(directory)) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        advice = "mount it with locks (NFS: lockd; Lustre: -o flock), or work on another file system"
        return Check("locks", "missing", f"{directory}: {error.strerror}", advice)
    return Check("locks", "ok", f"{directory}: files can be locked")


def clock(directory: Path) -> Check:
    """The machine's clock against those of its file server and of its own programs."""
    now = time.time()
    if (behind := Path(__file__).stat().st_mtime - now) > SKEW:
        found = f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(now))}, {behind:,.0f} s before jetloom was installed"
        return Check("clock", "missing", found, "set it (timedatectl): Snakemake compares times of files")
    try:
        with tempfile.TemporaryFile(dir=_existing(directory)) as file:
            file.write(b"now")
            file.flush()
            skew = os.fstat(file.fileno()).st_mtime - time.time()
    except OSError as error:
        return Check(
            "clock", "note", f"{directory}: {FILESYSTEM} ({error.strerror})", "see the lines of the directories"
        )
    if abs(skew) > SKEW:
        found = f"the file server's is {abs(skew):,.0f} s {'ahead' if skew > 0 else 'behind'}"
        return Check("clock", "note", found, "have both set by NTP, or raise latency-wait in the profile")
    return Check("clock", "ok", f"within {SKEW:.0f} s of the file server's")


def free_port(port: int) -> Check:
    """The port of MLflow's UI on this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Check("port", "note", f"{port}: {error.strerror}", "jetloom mlflow ui --port 5001, or another one")
    return Check("port", "ok", f"{port} is free for jetloom mlflow ui")


def _existing(directory: Path) -> Path:
    """The directory, or the first one above it that is there."""
    place = directory.absolute()
    return next(path for path in (place, *place.parents) if path.is_dir())


def _answer(command: Sequence[str]) -> str:
    """What another program says; its complaint if it fails, empty if it says nothing in time."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() or done.stderr.strip()
