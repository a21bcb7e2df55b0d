"""GPUs of one machine, taken in turn by commands of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jetloom.gpus import visible


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A machine with three GPUs; its locks are in the test's own directory."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": "0,1,2", "TMPDIR": str(tmp_path)}


def start(environment: dict[str, str], count: int, *command: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "jetloom.cli", "gpus", str(count), *command]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_visible_gpus_are_those_of_the_environment() -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": "0, GPU-5f"}) == ["0", "GPU-5f"]
    assert visible({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert visible({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_each_command_sees_gpus_of_its_own(environment) -> None:
    command = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 600")
    running = [start(environment, count, *command) for count in (1, 2)]
    try:
        seen = [process.stdout.readline().strip().split(",") for process in running]
        assert sorted(map(len, seen)) == [1, 2]
        assert sorted(seen[0] + seen[1]) == ["0", "1", "2"]
        waiting = start(environment, 1, "printenv", "CUDA_VISIBLE_DEVICES")
        assert waiting.stdout.readline() == "waiting for 1 of 3 GPUs\n"
        time.sleep(1)
        assert waiting.poll() is None
        # Even kill -9 gives them back.
        running[0].send_signal(signal.SIGKILL)
        assert waiting.communicate(timeout=120)[0].strip() in seen[0]
    finally:
        for process in running:
            process.kill()


def test_arguments_pass_unchanged(environment) -> None:
    done = start(environment, 1, "printf", "%s|", "--set", "a=b c", "-x")
    assert done.communicate(timeout=120)[0] == "--set|a=b c|-x|"


@pytest.mark.parametrize(
    ("count", "program", "words"),
    [(4, "true", "4 GPUs asked for, but this machine shows 3"), (1, "no-such-thing", "no such program")],
)
def test_a_mistake_is_one_line(environment, count: int, program: str, words: str) -> None:
    process = start(environment, count, program)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert words in said and said.count("\n") == 1


def test_the_locks_are_closed_to_others(environment) -> None:
    start(environment, 1, "true").wait(20)
    (locks,) = Path(environment["TMPDIR"]).glob("jetloom-gpus-*")
    assert locks.stat().st_mode & 0o777 == 0o700
