"""A real MLflow server on the loopback, which can be killed and comes back with what it had."""

import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.slurm import descendants, free_port, kill, wait_until


@dataclass
class Server:
    """``mlflow server`` on one SQLite file: small enough to come back within a test.

    Args:
        directory: of its file and its log.
    """

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; :meth:`wait` until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.directory}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.directory / "artifacts")]
        with (self.directory / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Until it answers.

        Raises:
            TimeoutError: it did not.
        """
        wait_until(self._answers, 120, "start of the MLflow server")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9 of all its processes."""
        if self.process is not None:
            for process in (*descendants(self.process.pid), self.process):
                kill(process.pid)
            self.process.wait()
