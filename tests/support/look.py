"""What a module of the tests sees in a process of its own, where torch is not what it is here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.project import ROOT


def seen(module: str, directory: Path, **environment: str) -> dict[str, Any]:
    """The JSON file that a module writes to the path that it is given; what it raises fails the test."""
    output = directory / "found.json"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, str(output)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(output.read_text())
    return result
