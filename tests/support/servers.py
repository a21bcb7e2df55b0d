"""A real server of a group: PostgreSQL, `mlflow server` and artifacts, as `jetloom mlflow serve` starts them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from jetloom.errors import JetloomError
from jetloom.tracking.server import _program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(process: subprocess.Popen) -> dict[psutil.Process, str]:
    """Processes below one and their names; some of PostgreSQL's come and go."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found[child] = child.name()
    return found


@dataclass
class Group:
    """A group's server, which can be killed and started again."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Start it and wait for its line."""
        command = [sys.executable, "-m", "jetloom.cli", "mlflow", "serve", str(self.directory), "--port"]
        command += [str(self.port), "--workers", "1", *more]
        command += ["--postgres-user", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith(f"MLflow: {self.uri}"), (self.directory / "server.log").read_text()[-2000:]

    def stop(self) -> None:
        """As Ctrl-C or an administrator would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(120) == 0
            self.process = None

    def kill(self) -> None:
        """kill -9 of all processes of ``mlflow server``; what serves it notices and ends PostgreSQL."""
        if self.process is not None:
            for child, name in family(self.process).items():
                if "postgres" not in name:
                    child.kill()
            assert self.process.wait(120) != 0
            self.process = None


def postgres_is_here() -> bool:
    try:
        _program("initdb"), pwd.getpwnam("nobody")
    except (JetloomError, KeyError):
        return False
    return True


@contextmanager
def home_of_postgres() -> Iterator[Path]:
    """A directory that the user who runs PostgreSQL may enter, as pytest's own are not; skips if there is none."""
    pytest.importorskip("psycopg2", reason="the extra [server] is not installed")
    if not postgres_is_here():
        pytest.skip("no PostgreSQL (apt-get install postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="jetloom-"))
    directory.chmod(0o755)
    try:
        yield directory / "group"
    finally:
        shutil.rmtree(directory)


def wait_until(true, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
