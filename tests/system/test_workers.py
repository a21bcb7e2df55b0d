"""Processes that share work: all of it is done, and none of them is left."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from jetloom.errors import JetloomError
from jetloom.system.workers import shared
from tests.support.servers import wait_until

pytestmark = pytest.mark.seconds

_home: Path


def start(home):
    global _home
    _home = home


def square(number):
    (_home / str(number)).write_text(str(os.getpid()))
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number):
    raise JetloomError(f"{number} is wrong")


def wait_for_ever(number):
    try:
        (_home / str(number)).write_text(str(os.getpid()))
        threading.Event().wait()
    finally:
        (_home / str(number)).unlink()


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) <= before


def test_results_come_in_order_and_from_other_processes(tmp_path):
    with shared(square, range(20), 2, start, tmp_path, killed="") as coming:
        assert [result.result() for result in coming] == [number * number for number in range(20)]
    who = {int(path.read_text()) for path in tmp_path.iterdir()}
    assert 1 <= len(who) <= 2 and os.getpid() not in who


def test_nothing_to_do(tmp_path):
    with shared(square, [], 2, start, tmp_path, killed="") as coming:
        assert coming == []


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_a_killed_one_is_one_line(tmp_path, tasks):
    with (
        pytest.raises(JetloomError, match=r"^killed; take fewer$"),
        shared(die, range(tasks), 2, start, tmp_path, killed="killed; take fewer") as coming,
    ):
        [result.result() for result in coming]


def test_an_error_is_that_of_the_work(tmp_path):
    with pytest.raises(JetloomError, match="0 is wrong"), shared(fail, [0, 1], 2, start, tmp_path, killed="") as coming:
        [result.result() for result in coming]


@pytest.fixture
def script(tmp_path):
    """A process in a session of its own whose two others wait for ever, and the directory in which they say so."""
    # Tests that run in the background of a shell ignore Ctrl-C, and so would what they start.
    code = (
        "import signal, sys; from pathlib import Path; from jetloom.system.workers import shared\n"
        "from tests.system.test_workers import start, wait_for_ever\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    with shared(wait_for_ever, [1, 2], 2, start, Path(sys.argv[1]), killed='') as coming:\n"
        "        print('started', flush=True)\n"
        "        coming[0].result()\n"
    )
    (tmp_path / "script.py").write_text(code)
    output = tmp_path / "output"
    output.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, tmp_path / "script.py", output]
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        yield parent, output
        parent.kill()


def busy(output):
    """The processes that work."""
    wait_until(lambda: len([path for path in output.iterdir() if path.read_text()]) == 2)
    return [int(path.read_text()) for path in output.iterdir()]


def runs(number):
    """Whether a process does; one that nobody has asked for its status does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_they_end_with_their_parent_and_clean_up(script):
    parent, output = script
    workers = busy(output)
    parent.kill()
    wait_until(lambda: not any(map(runs, workers)))
    assert not list(output.iterdir())


def test_an_interrupt_is_the_parents_and_they_clean_up(script):
    """Ctrl-C reaches all processes of a terminal."""
    parent, output = script
    workers = busy(output)
    os.killpg(parent.pid, signal.SIGINT)
    said = parent.communicate(timeout=60)[1]
    assert said.rstrip().endswith("KeyboardInterrupt") and said.count("Traceback") == 1
    assert not list(output.iterdir())
    assert not any(map(runs, workers))


def test_an_interrupt_while_they_start(script):
    parent, output = script
    assert parent.stdout.readline() == "started\n"
    os.killpg(parent.pid, signal.SIGINT)
    said = parent.communicate(timeout=60)[1]
    assert said.rstrip().endswith("KeyboardInterrupt") and said.count("Traceback") == 1
    assert not list(output.iterdir())
