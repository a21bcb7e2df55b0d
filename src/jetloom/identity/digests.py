"""What something was made from: one digest for each part, and one over all of them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHORT = 10
"""Hexadecimal digits of a digest in the name of a directory."""


def digest(*values: Any) -> str:
    """sha256, 64 hexadecimal digits, of anything that JSON can hold; the order of keys does not count."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def short(*values: Any) -> str:
    """The digest of some values, as the names of directories and files carry it."""
    return digest(*values)[:SHORT]


def checksum(path: Path) -> str:
    """sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True)
class Identity:
    """What an output was made from.

    Attributes:
        parts: digest (or another short text) of each part, by its name: ``data``, ``recipe``, ``code`` and the like.
    """

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Over all parts, 64 hexadecimal digits."""
        return digest(dict(self.parts))

    def record(self) -> dict[str, Any]:
        """As an output carries it."""
        return {"digest": self.digest, "made_from": dict(self.parts)}

    def other_parts(self, record: Any) -> list[str]:
        """Names of the parts in which a record of an output differs; empty: it was made from the same.

        Args:
            record: what :meth:`record` gave, or None for an output that carries none.
        """
        made_from = record.get("made_from") if isinstance(record, Mapping) else None
        if not isinstance(made_from, Mapping):
            return ["no record of what it was made from"]
        return [
            name for name in dict.fromkeys([*self.parts, *made_from]) if self.parts.get(name) != made_from.get(name)
        ]
