"""Which jobs run, where, since when, and where their logs are."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jetloom.cli import main
from jetloom.workflow.jobs import Job, jobs

DRIVER = (
    "import sys, time, pathlib, subprocess\nfrom jetloom.workflow.drivers import enter\n"
    "enter(pathlib.Path.cwd())\n"
    "job = subprocess.Popen(['bash', '-c', sys.argv[1] + ' &> logs/serve.log; true'])\n"
    "print(job.pid, flush=True)\ntime.sleep(600)"
)
SQUEUE = """#!/bin/sh
echo "17|RUNNING|node07|2026-03-01T12:00:00|None|$PROJECT|rule_train_model_wildcards_salt_1"
echo "18|PENDING||N/A|Priority|$PROJECT|group_skims"
echo "19|RUNNING|node07|2026-03-01T12:00:00|None|/elsewhere|rule_skim"
echo "20|RUNNING|node07|2026-03-01T12:00:00|None|$PROJECT|my own job"
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project's directory, and a SLURM that has jobs of it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/squeue").write_text(SQUEUE)
    (tmp_path / "bin/squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PROJECT", str(tmp_path / "project"))
    log = tmp_path / "project/logs/slurm/rule_train_model/salt_1/17.log"
    log.parent.mkdir(parents=True)
    log.write_text("")
    return tmp_path / "project"


def test_jobs_of_slurm(project) -> None:
    assert jobs(project) == [
        Job("SLURM job 17 on node07", "RUNNING", "2026-03-01 12:00:00", "train_model salt_1",
            "logs/slurm/rule_train_model/salt_1/17.log"),
        Job("SLURM job 18", "PENDING (Priority)", "", "group_skims", ""),
    ]  # fmt: skip


def test_slurm_that_does_not_answer(project, monkeypatch) -> None:
    (project.parent / "bin/squeue").write_text("#!/bin/sh\necho 'squeue: error: no controller' >&2\nexit 1\n")
    assert jobs(project) == [Job("SLURM", "UNKNOWN", "", "squeue: error: no controller", "")]


def test_jobs_on_this_machine(project, capsys) -> None:
    # In place of a verb that takes long.
    hold = f"{sys.executable} {project / 'jetloom'} train manifest.json"
    (project / "jetloom").write_text("import time\ntime.sleep(600)\n")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, hold], cwd=project, text=True, stdout=subprocess.PIPE)
    try:
        shell = int(driver.stdout.readline())
        deadline = time.monotonic() + 120
        while not (found := [job for job in jobs(project) if "manifest" in job.what]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (job,) = found
        assert job.what == "jetloom train manifest.json"
        assert job.log == "logs/serve.log"
        number = int(re.search(r"process (\d+)$", job.where)[1])
        assert shell in (number, psutil.Process(number).ppid())
        assert time.time() - time.mktime(time.strptime(job.since, "%Y-%m-%d %H:%M:%S")) < 60
        with pytest.raises(SystemExit) as ended:
            main(["status", str(project)])
        assert not ended.value.code
        said = capsys.readouterr().out
        assert f"process {driver.pid}" in said
        assert "the workflow" in said and "SLURM job 17 on node07" in said
        assert "17.log" in said
    finally:
        for process in psutil.Process(driver.pid).children(recursive=True):
            process.kill()
        driver.kill()
        driver.wait()
