"""What was read from a source file, kept beside it as Python keeps its byte code."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any


def remembered(file: Path, read: Callable[[str], Any]) -> Any:
    """What ``read`` says of the text of a file, as JSON holds it; asked again when the text or its module changes.

    A module reads a file in one way: what is kept is named after it.

    Where the directory cannot be written, or Python shall write no byte code, it is asked each time.
    """
    text = file.read_bytes()
    of = [hashlib.sha256(text).hexdigest(), _digest_of_module(read.__module__)]
    kept = Path(cache_from_source(str(file))).with_suffix(f".{read.__module__.rpartition('.')[2]}")
    try:
        found = json.loads(kept.read_bytes())
        if found["of"] == of:
            return found["said"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or half of one
    said = read(text.decode())
    if not sys.dont_write_bytecode:
        _write(kept, json.dumps({"of": of, "said": said}))
    return said


@cache
def _digest_of_module(name: str) -> str:
    file = sys.modules[name].__file__
    assert file
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Whole or not at all; without the wait for the disk that a result is worth."""
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        partial.write_text(text)
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
