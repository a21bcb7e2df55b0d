"""Who may train in a scratch directory."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from jetloom.errors import JetloomError
from jetloom.system import lock
from jetloom.system.lock import locked

HOLD = "import sys, time, pathlib\nfrom jetloom.system.lock import locked\n"
FOREVER = HOLD + "with locked(pathlib.Path(sys.argv[1])):\n print('held', flush=True)\n time.sleep(600)"
TRY = (
    HOLD + "sys.stdin.readline()\ntry:\n with locked(pathlib.Path(sys.argv[1])):\n  print('held', flush=True)\n"
    "  sys.stdin.readline()\nexcept Exception as error:\n print(type(error).__name__, flush=True)"
)


def start(code: str, directory, **pipes) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, str(directory)], text=True, stdout=subprocess.PIPE, **pipes)


def leave(directory, **owner) -> None:
    """A lock file as a process that ended without a word leaves it."""
    directory.mkdir(exist_ok=True)
    (directory / "lock").write_text(json.dumps({"host": socket.gethostname(), "pid": 1, "started": 0.0} | owner))


def test_names_its_owner_and_goes(tmp_path) -> None:
    with locked(tmp_path / "s"):
        owner = json.loads((tmp_path / "s" / "lock").read_text())
        assert owner["host"] == socket.gethostname()
        assert owner["pid"] == os.getpid()
        with pytest.raises(JetloomError, match=f"process {os.getpid()} on {socket.gethostname()} trains here"):
            locked(tmp_path / "s").__enter__()
    assert not (tmp_path / "s" / "lock").exists()
    with locked(tmp_path / "s"):
        pass


def test_held_until_its_owner_is_killed(tmp_path) -> None:
    owner = start(FOREVER, tmp_path)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(JetloomError, match=f"process {owner.pid} on"):
        locked(tmp_path).__enter__()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path):
        pass


def test_left_by_a_dead_process_or_half_written(tmp_path) -> None:
    # The number belongs to another, living process by now.
    leave(tmp_path, pid=os.getppid(), started=psutil.Process(os.getppid()).create_time() - 100)
    with locked(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    (tmp_path / "lock").write_text('{"host": "x')
    with locked(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_living_owner_where_the_kernel_knows_no_lock(tmp_path) -> None:
    parent = psutil.Process(os.getppid())
    leave(tmp_path, pid=parent.pid, started=parent.create_time())
    with pytest.raises(JetloomError, match=f"process {parent.pid} on"):
        locked(tmp_path).__enter__()


@pytest.mark.seconds
def test_other_host(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "SILENCE", 1.0)
    leave(tmp_path, host="elsewhere")
    with locked(tmp_path):
        pass
    leave(tmp_path, host="elsewhere")
    ended = threading.Event()
    monkeypatch.setattr(lock, "BEAT", 0.05)
    beating = threading.Thread(target=lock.beat, args=(tmp_path / "lock", ended))
    beating.start()
    try:
        with pytest.raises(JetloomError, match="process 1 on elsewhere trains here"):
            locked(tmp_path).__enter__()
    finally:
        ended.set()
        beating.join()


def test_one_of_several_at_once(tmp_path) -> None:
    leave(tmp_path)
    several = [start(TRY, tmp_path, stdin=subprocess.PIPE) for _ in range(5)]
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline().strip() for process in several]
    for process in several:
        process.communicate("end\n")
    assert sorted(said) == ["JetloomError"] * 4 + ["held"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_dead_owner_that_nobody_has_waited_for(tmp_path) -> None:
    """A zombie still has its process id."""
    owner = start(FOREVER, tmp_path)
    assert owner.stdout.readline() == "held\n"
    described = json.loads((tmp_path / "lock").read_text())
    owner.kill()
    # What the process has open is closed only when the last of its threads has ended.
    while psutil.Process(owner.pid).status() != psutil.STATUS_ZOMBIE or len(os.listdir(f"/proc/{owner.pid}/task")) > 1:
        pass
    assert not lock.alive(tmp_path / "lock", described, "trains here")
    with locked(tmp_path):
        pass
    owner.wait()


def test_no_lock_of_the_kernel(tmp_path, monkeypatch) -> None:
    """As some network file systems answer."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with locked(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    parent = psutil.Process(os.getppid())
    leave(tmp_path, pid=parent.pid, started=parent.create_time())
    with pytest.raises(JetloomError, match=f"process {parent.pid} on"):
        locked(tmp_path).__enter__()


def test_whoever_was_halted_until_another_took_over_ends(tmp_path) -> None:
    code = "from jetloom.system import lock\nlock.BEAT = 0.05\n" + FOREVER
    owner = start(code, tmp_path, stderr=subprocess.PIPE)
    assert owner.stdout.readline() == "held\n"
    owner.send_signal(signal.SIGSTOP)
    leave(tmp_path, host="elsewhere")
    owner.send_signal(signal.SIGCONT)
    _, said = owner.communicate(timeout=120)
    assert owner.returncode == 1
    assert "another process goes on with this training; this one ends" in said
    assert json.loads((tmp_path / "lock").read_text())["host"] == "elsewhere"
