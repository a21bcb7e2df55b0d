"""``about.json``: what a directory of data of the workflow holds, and the settings that it was made with."""

from pathlib import Path
from typing import Any

from jetloom.errors import JetloomError
from jetloom.system.files import read_json

NAME = "about.json"


def read(path: Path) -> dict[str, Any]:
    """Content of ``about.json``: ``holds``, ``settings``, ``code``, and of tensors ``dataset`` and ``skims``.

    Raises:
        JetloomError: no such file, or none that the workflow has written.
    """
    content = read_json(
        path,
        missing="the workflow writes one into each directory of data",
        damaged="remove it and run the workflow again",
    )
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise JetloomError(f"{path}: no `settings` in it; remove it and run the workflow again")
    return content


def settings(path: Path | None) -> dict[str, Any]:
    """Settings of a directory; none without a file."""
    return read(path)["settings"] if path else {}


def preset(path: Path | None) -> str | None:
    """Data-set preset of a directory of tensors."""
    return read(path).get("dataset") if path else None
