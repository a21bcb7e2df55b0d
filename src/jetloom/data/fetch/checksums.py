"""Checksums of downloaded files: those of the preset, and those learnt where the publisher gives none."""

import fcntl
import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from jetloom.config import RemoteFile
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

# Bytes read at a time: what a kill costs at most.
CHUNK = 1 << 18


class Expected(NamedTuple):
    """A checksum that a file must have."""

    kind: str
    value: str
    origin: str


class Digests:
    """MD5 and SHA-256 of a stream of bytes."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was read."""
        self.size = 0
        self._sums = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}

    def update(self, data: bytes) -> None:
        """Read on."""
        self.size += len(data)
        for digest in self._sums.values():
            digest.update(data)

    def read(self, path: Path, tick: Callable[[int], None]) -> None:
        """Read a whole file from its beginning; ``tick`` is told the bytes of each step."""
        self.reset()
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                self.update(data)
                tick(len(data))

    def __getitem__(self, kind: str) -> str:
        return self._sums[kind].hexdigest()


class Checksums:
    """What files must look like; learns the SHA-256 of files that nobody has published a checksum of.

    Args:
        path: JSON file with what was learnt, made when there is something to learn.

    Raises:
        JetloomError: the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._learnt = self._read()

    def _read(self) -> dict[str, dict[str, str | int]]:
        try:
            learnt: dict[str, dict[str, str | int]] = json.loads(self.path.read_text()) if self.path.exists() else {}
            if any(not {"sha256", "learnt"} <= entry.keys() for entry in learnt.values()):
                raise ValueError("an entry without sha256 or learnt")
        except (ValueError, AttributeError, RecursionError) as error:
            raise JetloomError(
                f"{self.path}: not the JSON file of learnt checksums ({error}); mend or remove it"
            ) from None
        return learnt

    def expected(self, file: RemoteFile) -> Expected | None:
        """The preset's checksum, else the learnt one, else None."""
        if file.sha256:
            return Expected("sha256", file.sha256, "of the preset")
        if file.md5:
            return Expected("md5", file.md5, "of the preset")
        if entry := self._learnt.get(file.name):
            return Expected("sha256", str(entry["sha256"]), f"learnt on {entry['learnt']}, see {self.path}")
        return None

    def problem(self, file: RemoteFile, digests: Digests) -> str | None:
        """What is wrong with a file of these sums, with both of them; None if it is the right one."""
        expected = self.expected(file)
        if expected and digests[expected.kind] != expected.value:
            hint = (
                ""
                if file.sha256 or file.md5
                else "; if the publisher replaced the file on purpose, remove its entry there"
            )
            return (
                f"{expected.kind} is {digests[expected.kind]}, expected {expected.value} ({expected.origin})"
                f" after {digests.size} bytes{hint}"
            )
        if file.size is not None and digests.size != file.size:
            return f"{digests.size} bytes, expected {file.size}"
        return None

    def learn(self, file: RemoteFile, digests: Digests, location: str) -> None:
        """Pin the sum of a complete file unless one is known already; other processes may learn at the same time."""
        if self.expected(file):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._learnt = self._read()
            if self.expected(file):
                return
            self._learnt[file.name] = {
                "sha256": digests["sha256"],
                "size": digests.size,
                "from": location,
                "learnt": datetime.now(UTC).date().isoformat(),
            }
            with appearing(self.path) as partial:
                partial.write_text(json.dumps(self._learnt, indent=1, sort_keys=True) + "\n")
