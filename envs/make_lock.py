"""Write the lock and the conda environment from what is installed in .venv: ``make lock``."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def pins() -> list[str]:
    """What pip has installed, without the marks of a local build (``2.13.0+cpu``)."""
    command = [sys.executable, "-m", "pip", "list", "--format", "freeze", "--exclude-editable"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.partition("+")[0] for line in lines if line.partition("==")[0] not in {"pip", "wheel"}]
    return sorted(found, key=str.lower)


def conda(lines: list[str]) -> str:
    """The same as a conda environment."""
    head = "# The same as requirements.lock; jetloom itself: pip install --no-deps -e . (jetloom.post-deploy.sh)\n"
    packages = "".join(f"      - {line}\n" for line in lines)
    return (
        f"{head}name: jetloom\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n{packages}"
    )


if __name__ == "__main__":
    found = pins()
    (HERE / "requirements.lock").write_text("\n".join(found) + "\n")
    (HERE / "jetloom.yaml").write_text(conda(found))
