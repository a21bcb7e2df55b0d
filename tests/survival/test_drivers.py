"""Two workflows on one directory, and one after another that was killed."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from jetloom.config import parse_experiment
from jetloom.workflow import drivers
from jetloom.workflow.plan import Plan
from tests.support.project import SMALL, Project, clone

pytestmark = pytest.mark.seconds

ENTER = (
    "import sys, time, pathlib, subprocess\nfrom jetloom.workflow.drivers import enter\n"
    "print(enter(pathlib.Path(sys.argv[1])), flush=True)\n"
    "job = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(job.pid, flush=True)\ntime.sleep(600)"
)


def start(directory: Path) -> tuple[subprocess.Popen, int]:
    """A process that runs a workflow, and its job."""
    process = subprocess.Popen([sys.executable, "-c", ENTER, str(directory)], text=True, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "[]\n"
    return process, int(process.stdout.readline())


def _ended(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def leave_a_lock(directory: Path) -> Path:
    lock = directory / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("some/file\n")
    return lock


def test_a_living_workflow_keeps_its_lock_and_a_killed_one_loses_lock_and_jobs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(drivers, "_keep", lambda note: None)
    monkeypatch.delenv(drivers.VARIABLE, raising=False)
    process, job = start(tmp_path)
    try:
        lock = leave_a_lock(tmp_path)
        assert drivers.enter(tmp_path) == []
        assert lock.exists()
        assert re.search(rf"process {process.pid} on \S+ \(since .*\) makes the same files", drivers.refusal(tmp_path))
        assert psutil.pid_exists(job)
        process.send_signal(signal.SIGKILL)
        process.wait()
        said = drivers.enter(tmp_path)
        assert len(said) == 2
        assert f"process {process.pid} on" in said[0] and f"(process {job}) was ended" in said[0]
        assert "lock on the directory is removed" in said[1]
        assert not lock.exists()
        assert _ended(job)
        assert drivers.enter(tmp_path) == []
    finally:
        process.kill()
        with suppress(ProcessLookupError):
            os.kill(job, signal.SIGKILL)
        process.wait()


def test_a_workflow_that_ended_leaves_no_note(tmp_path) -> None:
    code = "import sys, pathlib\nfrom jetloom.workflow.drivers import enter\nenter(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert list((tmp_path / ".snakemake" / "workflows").iterdir()) == []


def simulating(jets: int) -> dict:
    """The small experiment with so many jets in each file."""
    jetclass = SMALL["per_dataset"]["jetclass-sim"]
    counts = {"jets": dict.fromkeys(("train", "val", "test"), jets), "mpi": False}
    return {**SMALL, "datasets": ["jetclass-sim"], "per_dataset": {"jetclass-sim": {**jetclass, "simulation": counts}}}


def _raw(config: dict) -> str:
    """A raw file of the small experiment."""
    return Plan(parse_experiment(config)).data["jetclass-sim"].raw["HToBB_000.root"].path


@pytest.mark.slow
def test_a_second_workflow_says_so_and_stops_and_a_killed_one_is_cleared_away(fresh: Project) -> None:
    pytest.importorskip("pythia8mc", reason="the simulation needs the extra [simulate]")
    fresh.write_config(simulating(10_000_000))
    target = _raw(simulating(10_000_000))
    command = ["snakemake", "--profile", "profiles/local", "--cores", "1", target]
    first = subprocess.Popen(
        command, cwd=fresh.path, env=fresh.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(fresh.path.glob("data/jetclass-sim/raw-*/.*.partial")):
        assert time.monotonic() < deadline and first.poll() is None, "the simulation did not begin"
        time.sleep(0.1)
    second = fresh.snakemake("--cores", "1", target)
    assert second.returncode == 1
    lines = [line for line in second.stderr.splitlines() if "makes the same files" in line]
    assert len(lines) == 1
    assert f"process {first.pid} on" in lines[0]
    assert "LockException" not in second.stderr and "Traceback" not in second.stderr

    jobs = [process.pid for process in psutil.Process(first.pid).children(recursive=True)]
    first.kill()
    first.wait()
    fresh.write_config(simulating(20))
    target = _raw(simulating(20))
    third = fresh.snakemake("--cores", "1", target)
    assert third.returncode == 0, third.stderr[-3000:]
    assert "its lock on the directory is removed" in third.stderr
    assert "was ended" in third.stderr
    assert not any(psutil.pid_exists(job) for job in jobs)
    assert sorted(path.name for path in (fresh.path / target).parent.iterdir()) == ["HToBB_000.root", "about.json"]


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A clone in which nothing has run."""
    return clone(tmp_path / "clone")
