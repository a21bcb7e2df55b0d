"""What a user sees while a workflow runs: stages, when it ends, what failed; plain lines where there is no terminal."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase

from jetloom.workflow.progress import STAGES, TARGETS, Progress, stage_of
from jetloom.workflow.screen import Failure, Screen, duration, last_lines
from snakemake_logger_plugin_jetloom import LogHandler
from tests.support.project import ROOT

pytestmark = pytest.mark.seconds


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    """Four skims and a training."""
    made = Progress(clock)
    made.plan({"skim": 4, "train_model": 1, "all": 1, "total": 6})
    return made


def test_every_rule_has_a_stage():
    rules = {
        name
        for file in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"^ *rule (\w+):|^use rule \w+ as (\w+)", file.read_text(), re.M)
        for name in name
        if name
    }
    assert len(rules) > 20
    assert {rule for rule in rules if stage_of(rule) not in STAGES} <= set(TARGETS)
    assert stage_of("download_jetclass") == stage_of("unpack_jetclass_1") == "download"
    assert stage_of("somebody_elses") == "somebody_elses"


def test_stages_stand_in_their_order_and_targets_do_not_count(progress):
    assert [(line.name, line.done, line.total) for line in progress.stages()] == [("skim", 0, 4), ("train", 0, 1)]


def test_jobs_that_ended_say_how_long_the_others_take(progress, clock):
    for number in (1, 2):
        progress.start(number, "skim", {"raw": f"{number}"}, None)
    assert [(line.left, line.known) for line in progress.stages()] == [(0, False), (0, False)]
    clock.now += 10
    progress.finish(1)
    progress.start(3, "skim", {"raw": "3"}, None)
    clock.now += 2
    # One to come takes 10 s, the second is due, the third has 8 s left; two at work halve that.
    [skims, _] = progress.stages()
    assert (skims.done, skims.working, skims.left, skims.known) == (1, 2, 18.0, True)
    assert progress.end() == (9.0, False), "nobody knows how long the training takes"


def test_a_failed_job_is_no_work_until_it_is_tried_again(progress, clock):
    progress.start(1, "skim", {"raw": "1", "family": "sim"}, "skim.log")
    failed = progress.fail(1)
    assert (failed.rule, failed.what, failed.log) == ("skim", "1", "skim.log")
    assert progress.fail(1) is None
    assert [(line.failed, line.working) for line in progress.stages()] == [(1, 0), (0, 0)]
    progress.start(1, "skim", {"raw": "1"}, "skim.log")
    assert [(line.failed, line.working) for line in progress.stages()] == [(0, 1), (0, 0)]


def test_a_plan_may_grow(progress):
    for number in range(6):
        progress.start(number, "skim", {"raw": str(number)}, None)
        progress.finish(number)
    assert progress.stages()[0].total == 6


def test_last_lines_of_a_log(tmp_path):
    log = tmp_path / "a.log"
    assert last_lines(log, 3) == []
    log.write_bytes(b"x" * 5000 + b"\none\n\ntwo\n 10%\r 50%\rlast\xff\n\n")
    assert last_lines(log, 2) == ["two", "last\ufffd"]


def test_durations():
    assert [duration(seconds) for seconds in (0.4, 61, 3600, 90061)] == ["0:00", "1:01", "1:00:00", "25:01:01"]


def screen(height: int = 24) -> Screen:
    return Screen(Console(file=io.StringIO(), width=100, height=height, force_terminal=True, no_color=True))


def drawn(shown: Screen) -> list[str]:
    console = Console(file=io.StringIO(), width=100, height=shown.console.height)
    console.print(shown._draw())
    return console.file.getvalue().rstrip("\n").split("\n")


def test_a_screen_holds_what_is_at_work(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("epoch 3 of 8: accuracy 0.7\n")
    shown = screen(height=12)
    shown.plan({"skim": 40, "train_model": 1})
    shown.progress.start(1, "train_model", {"dataset": "sim", "model": "salt", "seed": "1"}, str(log))
    for number in range(2, 20):
        shown.progress.start(number, "skim", {"raw": f"file{number}"}, None)
    lines = drawn(shown)
    assert len(lines) <= 12
    assert lines[0].startswith("0 of 41 jobs")
    assert re.match(r"skim .* 0/40 .* 18 at work, 22 to come$", lines[1])
    assert re.match(r"train_model sim salt 1 +0:00 +epoch 3 of 8: accuracy 0.7$", lines[3].rstrip())
    assert lines[-1].strip() == "and 13 more"


def test_a_failure_shows_the_last_words_and_the_command(tmp_path):
    log = tmp_path / "skim.log"
    log.write_text("".join(f"line {number}\n" for number in range(30)) + "jetloom: no such branch\n")
    shown = screen()
    shown.plan({"skim": 2})
    shown.progress.start(7, "skim", {"raw": "HToBB"}, str(log))
    command = f"\n        jetloom skim a.root   b.parquet &> {log}"
    shown.fail(7, [str(log), str(tmp_path / "slurm.log")], command, "4711")
    shown.close()
    said = re.sub(r"\x1b\[[\d;]*m", "", shown.console.file.getvalue())
    assert "FAILED skim HToBB after 0:00, job 4711 of the cluster\n" in said
    assert "    jetloom: no such branch\n" in said and "line 24" in said and "line 22" not in said
    assert f"{tmp_path / 'slurm.log'} is not there" in said
    assert "  again, alone: jetloom skim a.root b.parquet\n" in said
    assert said.rstrip().endswith("failed: skim HToBB. Give the command again to go on.")


def test_of_a_group_those_are_shown_that_began_and_did_not_end(tmp_path):
    shown = screen()
    shown.plan({"skim": 4})
    jobs = []
    for number, name in enumerate(("ended", "broken", "waited")):
        log, output = tmp_path / f"{name}.log", tmp_path / f"{name}.parquet"
        shown.progress.start(number, "skim", {"raw": name}, str(log))
        jobs.append(Failure(number, [str(log)], [str(output)], f"jetloom skim {name}", "4711"))
    for name in ("ended", "broken"):
        (tmp_path / f"{name}.log").write_text(f"reading {name}\n")
    (tmp_path / "ended.parquet").touch()
    shown.fail_group(jobs, [])
    said = re.sub(r"\x1b\[[\d;]*m", "", shown.console.file.getvalue())
    assert [line.split(" after")[0] for line in said.splitlines() if "FAILED" in line] == ["FAILED skim broken"]
    assert "reading broken" in said and "and with it 2 more of its group" in said
    assert len(shown.progress.failed) == 3


class TestPlugin(TestLogHandlerBase):
    """What Snakemake's interface asks of every plugin."""

    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return None


SNAKEFILE = """
rule all:
    input: "report.txt"
rule skim:
    output: "{raw}.parquet"
    log: "logs/{raw}.log"
    shell: "(echo reading {wildcards.raw}; test {wildcards.raw} != bad; touch {output}) &> {log}"
rule report:
    input: "one.parquet", "%s.parquet"
    output: "report.txt"
    shell: "touch {output}"
"""


def run(directory: Path, second: str, *arguments: str, terminal: bool) -> tuple[int, str]:
    """Snakemake with the plugin, in a terminal or not; its status and all that it said."""
    (directory / "Snakefile").write_text(SNAKEFILE % second)
    command = ["snakemake", "--cores", "2", "--logger", "jetloom", *arguments]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "120"}
    if not terminal:
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    ours, its = pty.openpty()
    process = subprocess.Popen(command, cwd=directory, env=environment, stdin=its, stdout=its, stderr=its)
    os.close(its)
    said = b""
    try:
        while data := os.read(ours, 65536):
            said += data
    except OSError:
        # Linux: the other end is closed.
        pass
    os.close(ours)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said.decode()).replace("\r\n", "\n")
    return process.wait(), text


def test_on_a_terminal_one_screen(tmp_path):
    status, said = run(tmp_path, "two", terminal=True)
    assert status == 0, said
    assert "3 of 3 jobs done in" in said
    assert re.search(r"^0 of 3 jobs .*\nskim .* 0/2 .*\nreport .* 0/1 ", said, re.M)
    assert "wildcards" not in said and "Finished jobid" not in said
    assert "Complete log" in said


def test_on_a_terminal_a_failure_is_shown_with_its_log(tmp_path):
    status, said = run(tmp_path, "bad", "--keep-going", terminal=True)
    assert status == 1
    assert "FAILED skim bad after" in said
    assert re.search(r"logs/bad\.log:\n    reading bad\n", said)
    assert "again, alone: (echo reading bad; test bad != bad; touch bad.parquet)\n" in said
    assert "1 of 3 jobs done in" in said


def test_elsewhere_a_plain_line_for_each_job(tmp_path):
    status, said = run(tmp_path, "two", terminal=False)
    assert status == 0, said
    lines = said.splitlines()
    assert "3 jobs: skim 2, report 1" in lines
    ended = [re.fullmatch(r"\d\d:\d\d:\d\d  (\d of 3) +\d:\d\d  (.*)", line) for line in lines]
    assert [line[1] for line in ended if line] == ["1 of 3", "2 of 3", "3 of 3"]
    assert sorted(line[2] for line in ended if line) == ["report", "skim one", "skim two"]
    assert re.search(r"^3 of 3 jobs done in \d:\d\d\.$", said, re.M)
    assert "\x1b" not in said and "wildcards" not in said
    assert len(lines) < 15, said


def test_elsewhere_a_failure_is_shown_with_its_log_too(tmp_path):
    status, said = run(tmp_path, "bad", "--keep-going", terminal=False)
    assert status == 1
    assert re.search(r"^FAILED skim bad after .*\n  logs/bad\.log:\n    reading bad\n  again, alone: ", said, re.M)
    assert "1 of 3 jobs done in" in said and "\x1b" not in said


def test_a_dry_run_fits_on_a_terminal(tmp_path):
    (tmp_path / "one.parquet").touch()
    status, said = run(tmp_path, "two", "--dry-run", terminal=True)
    assert status == 0, said
    assert re.search(r"^2 jobs would run:\nskim +1 +skim 1 *\nreport +1 +report 1 *\n", said, re.M)
    assert re.search(r"^Reasons:\n.*\n +all, report", said, re.M)
    assert "individual jobs" not in said and "wildcards" not in said and "done in" not in said
    assert len(said.splitlines()) < 15, said


@pytest.mark.parametrize(
    ("arguments", "terminal"),
    [
        (("--verbose",), True), (("--verbose",), False), (("--dry-run",), False), (("--dry-run", "--verbose"), True),
    ],
)  # fmt: skip
def test_snakemake_says_its_own_words_where_they_are_wanted(tmp_path, arguments, terminal):
    status, said = run(tmp_path, "two", *arguments, terminal=terminal)
    assert status == 0
    assert "wildcards: raw=two" in said
    assert "jobs done in" not in said
