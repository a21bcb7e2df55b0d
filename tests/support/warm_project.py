"""A clone in which snakemake and jetloom take no time to start."""

import subprocess
import sys
import time
from pathlib import Path

from tests.support import warm
from tests.support.project import LOCAL, ROOT, Project

REAL = "tests.support.warm_programs"
"""Module with the workflow and the verbs as they are."""


class WarmProject(Project):
    """A clone whose calls go to a process that has imported everything.

    Args:
        path: of the clone.
        programs: module whose PROGRAMS run.
    """

    def __init__(self, path: Path, programs: str = REAL) -> None:
        super().__init__(path)
        self.socket = path / "warm"
        self.output = path / "output.txt"
        program = path / "bin" / "jetloom"
        program.parent.mkdir()
        program.write_text(warm.CLIENT.format(python=sys.executable, path=str(self.socket)))
        program.chmod(0o755)
        changes = {
            "PATH": f"{program.parent}:{self.environment['PATH']}",
            "PYTHONPATH": f"{path / 'src'}:{ROOT}",
            **{"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        }
        command = [sys.executable, "-m", "tests.support.warm", str(self.socket), programs]
        self._said = (path / "warm.txt").open("w")
        self.process = subprocess.Popen(
            command, cwd=path, env=self.environment | changes, stdout=self._said, stderr=subprocess.STDOUT
        )
        while not self.socket.exists():
            assert self.process.poll() is None, (path / "warm.txt").read_text()
            time.sleep(0.05)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._said.close()

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*LOCAL, *arguments]
        status = warm.call(self.socket, "snakemake", command, self.path, self.output)
        return subprocess.CompletedProcess(command, status, "", self.output.read_text())
