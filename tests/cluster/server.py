"""The server of a group, PostgreSQL and `mlflow server`, which can be killed and comes back with what it had."""

from dataclasses import dataclass

from tests.cluster.slurm import descendants, kill
from tests.tracking.conftest import Group


@dataclass
class Server(Group):
    """``jetloom mlflow serve``."""

    def kill(self) -> None:
        """kill -9 of all processes of ``mlflow server``; what serves it notices and ends PostgreSQL."""
        if self.process is not None:
            for process in descendants(self.process.pid):
                if "postgres" not in process.name():
                    kill(process.pid)
            self.process.wait(60)
            self.process = None
