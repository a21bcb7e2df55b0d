"""GPUs of one machine, taken in turn by commands of their own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from jetloom.errors import JetloomError
from jetloom.system.gpus import _take, visible


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


@pytest.mark.seconds
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


LIST = """GPU 0: NVIDIA H100 PCIe (UUID: GPU-aaaa-0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-1)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc-0)
  MIG 3g.20gb     Device  1: (UUID: MIG-cccc-1)
GPU 2: NVIDIA H100 PCIe (UUID: GPU-dddd-2)
"""


@pytest.fixture
def with_driver(environment, tmp_path) -> dict[str, str]:
    """The machine with a driver that lists a whole GPU, one in two parts, and another whole one."""
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n[ \"$*\" = -L ] || exit 1\ncat <<'END'\n{LIST}END\n")
    tool.chmod(0o755)
    return environment | {"PATH": f"{tool.parent}:{environment['PATH']}"}


def locks(environment: dict[str, str]) -> list[str]:
    return sorted(path.name for path in Path(environment["TMPDIR"]).glob("jetloom-gpus-*/*"))


@pytest.mark.parametrize(
    ("names", "uuids"),
    [
        ("0", ["GPU-aaaa-0"]),
        ("GPU-aaaa-0", ["GPU-aaaa-0"]),
        ("GPU-a", ["GPU-aaaa-0"]),
        ("1", ["MIG-cccc-0"]),
        ("GPU-bbbb-1", ["MIG-cccc-0"]),
        ("MIG-cccc-1", ["MIG-cccc-1"]),
        ("2,MIG-cccc-1", ["GPU-dddd-2", "MIG-cccc-1"]),
        ("MIG-c", ["MIG-c"]),
        ("7", ["7"]),
    ],
)
def test_locks_are_named_by_uuid_whatever_the_gpus_are_called(with_driver, names: str, uuids: list[str]) -> None:
    count = len(uuids)
    done = start(with_driver | {"CUDA_VISIBLE_DEVICES": names}, count, "printenv", "CUDA_VISIBLE_DEVICES")
    assert done.communicate(timeout=120)[0].strip() == names
    assert locks(with_driver) == uuids


def test_a_number_and_a_uuid_are_the_same_gpu(with_driver) -> None:
    first = start(with_driver | {"CUDA_VISIBLE_DEVICES": "0"}, 1, "sh", "-c", "echo taken; exec sleep 600")
    try:
        assert first.stdout.readline() == "taken\n"
        second = start(with_driver | {"CUDA_VISIBLE_DEVICES": "GPU-aaaa-0,GPU-dddd-2"}, 1, "printenv")
        seen = second.communicate(timeout=120)[0]
        assert "CUDA_VISIBLE_DEVICES=GPU-dddd-2\n" in seen
        assert "CUDA_DEVICE_ORDER=PCI_BUS_ID\n" in seen
    finally:
        first.kill()


def test_one_gpu_named_twice_is_one(with_driver) -> None:
    process = start(with_driver | {"CUDA_VISIBLE_DEVICES": "0,GPU-aaaa-0"}, 2, "true")
    assert "2 GPUs asked for, but this machine shows 1" in process.communicate(timeout=120)[1]


@pytest.mark.parametrize("kind", ["open to others", "link", "file", "somebody else's"])
def test_a_directory_of_locks_that_is_not_ones_own_is_refused(environment, tmp_path, monkeypatch, kind: str) -> None:
    user = os.getuid() + (kind == "somebody else's")
    place = tmp_path / f"jetloom-gpus-{user}"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        place.touch(0o600)
    else:
        place.mkdir()
        place.chmod(0o777 if kind == "open to others" else 0o700)
    monkeypatch.setattr(os, "getuid", lambda: user)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(JetloomError, match="not a directory of yours alone") as caught:
        _take(1, {"GPU-0": "0"})
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "elsewhere").glob("*"))


def test_jobs_of_a_workflow_take_turns_by_themselves(environment) -> None:
    """What the rules start is the verb alone: it takes its GPUs before torch looks for them."""
    code = (
        "import os, sys\nfrom jetloom.workflow.machines import place\nplace(int(sys.argv[1]), 1, 1)\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\nsys.stdin.read()"
    )
    shared = environment | {"JETLOOM_SHARED_GPUS": "0,1,2"}
    running = [
        subprocess.Popen([sys.executable, "-c", code, count], env=shared, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for count in ("1", "2")
    ]
    try:
        seen = [process.stdout.readline().decode().strip().split(",") for process in running]
        assert sorted(map(len, seen)) == [1, 2]
        assert sorted(seen[0] + seen[1]) == ["0", "1", "2"]
    finally:
        for process in running:
            process.kill()
            process.wait()
    alone = subprocess.run(
        [sys.executable, "-c", code, "1"], env=environment, input=b"", capture_output=True, check=True
    )
    assert alone.stdout.decode().strip() == "0,1,2", "by hand, or on a cluster, the job sees what it was given"
