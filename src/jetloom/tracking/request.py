"""What a workflow asks of MLflow, and whether what was made for it still says that."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from jetloom.errors import JetloomError
from jetloom.system.masking import masked
from jetloom.tracking.store import choose_uri


class StoreRequest(NamedTuple):
    """Experiments of one store.

    Attributes:
        uri: tracking server or database; None as in :func:`jetloom.tracking.store.choose_uri`.
        experiments: names.
        directory: of the default store and its artifacts.
        offline: nothing is sent before ``jetloom mlflow sync``.
    """

    uri: str | None
    experiments: tuple[str, ...]
    directory: Path
    offline: bool = False

    @property
    def words(self) -> list[str]:
        """Arguments of ``jetloom mlflow init``, without its output."""
        uri = ["--uri", self.uri] if self.uri else []
        offline = ["--offline"] if self.offline else []
        return [*self.experiments, *uri, *offline, "--directory", str(self.directory)]

    def answered(self, file: Path) -> bool:
        """Whether a file of :func:`jetloom.tracking.store.prepare` has the experiments, in the store that is asked."""
        try:
            content = json.loads(file.read_text())
            known = set(content["experiments"])
            made_for = content["uri"], content["offline"]
        except (OSError, json.JSONDecodeError, KeyError, TypeError):
            return False
        return known >= set(self.experiments) and made_for == (
            masked(choose_uri(self.uri, self.directory)),
            self.offline,
        )

    def mend(self, file: Path) -> None:
        """Write a file that is there anew if it does not answer the request; one that is not there is left to its rule.

        Raises:
            JetloomError: the store cannot be reached.
        """
        if not file.is_file() or self.answered(file):
            return
        command = [sys.executable, "-m", "jetloom.cli", "mlflow", "init", *self.words, "--output", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"jetloom mlflow init ended with {done.returncode}"]
            raise JetloomError(lines[-1].removeprefix("jetloom: "))
