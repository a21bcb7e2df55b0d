"""The file between a training and its store: what is written there is not lost, whatever happens to either.

``mlflow.jsonl`` has one line for each point, ``mlflow.json`` how many bytes of it the store has taken. What is left
over in the end goes into ``unsent.jsonl``, which tells all that is needed to send it from anywhere.
"""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jetloom.errors import JetloomError
from jetloom.system.files import appearing
from jetloom.system.masking import masked
from jetloom.tracking.description import Description
from jetloom.tracking.run import Point

UNSENT = "unsent.jsonl"


class Spool:
    """Points of a running training, in its scratch directory.

    Args:
        directory: if it holds a spool, that one goes on.
        began: seconds since 1970, of a new one.
    """

    def __init__(self, directory: Path, began: float) -> None:
        self.points, self.state, self.unsent = (directory / name for name in ("mlflow.jsonl", "mlflow.json", UNSENT))
        self.resumed = self.state.is_file()
        known = json.loads(self.state.read_text()) if self.resumed else {}
        self.key: str = known.get("key") or uuid.uuid4().hex
        self.began: float = known.get("began", began)
        self.run_id: str | None = known.get("run_id")
        self._sent: int = known.get("sent", 0)
        self._mend()
        self.waiting = sum(1 for _ in self._lines(self._sent))
        self.unsent.unlink(missing_ok=True)

    def keep(self) -> None:
        """Write down how far the store has followed.

        Raises:
            JetloomError: the disk is full.
        """
        state = {"run_id": self.run_id, "key": self.key, "began": self.began, "sent": self._sent}
        with appearing(self.state) as partial:
            partial.write_text(json.dumps(state))

    def append(self, points: Sequence[Point]) -> None:
        """Add points.

        Raises:
            OSError: the disk is full; nothing has been added.
        """
        text = "".join(json.dumps(point) + "\n" for point in points).encode()
        before = self.points.stat().st_size if self.points.is_file() else 0
        try:
            with self.points.open("ab") as file:
                file.write(text)
        except OSError:
            if self.points.is_file():
                os.truncate(self.points, before)
            raise
        self.waiting += len(points)

    def steps(self, name: str) -> set[int]:
        """Steps of a metric that are written down, sent or not."""
        points = (Point(*json.loads(line)) for line in self._lines(0))
        return {point.step for point in points if point.name == name}

    def next(self, count: int) -> list[Point]:
        """The oldest points that the store has not taken."""
        return [Point(*json.loads(line)) for _, line in zip(range(count), self._lines(self._sent), strict=False)]

    def taken(self, points: Sequence[Point]) -> None:
        """The store has taken what ``next`` gave."""
        self._sent += sum(len(json.dumps(point)) + 1 for point in points)
        self.waiting -= len(points)
        self.keep()

    def _lines(self, begin: int) -> Any:
        if not self.points.is_file():
            return
        with self.points.open("rb") as file:
            file.seek(begin)
            yield from file

    def _mend(self) -> None:
        # A kill in the middle of a line leaves it without an end, and the next one would be joined to it.
        if self.points.is_file():
            os.truncate(self.points, self.points.read_bytes().rfind(b"\n") + 1)


@dataclass
class Left:
    """What a training left to be sent: the content of ``unsent.jsonl``.

    Args:
        uri: of the store, without its password.
        key: of the run.
        run_id: if the store has the run already.
        began: milliseconds since 1970.
        ended: the same; None: it has not.
        status: MLflow's word for how it ended.
        description: of the run.
        files: artifacts, names beside this file.
        points: in the order in which they were made.
    """

    uri: str
    key: str
    run_id: str | None
    began: int
    ended: int | None
    status: str
    description: Description
    files: list[str]
    points: list[Point] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            JetloomError: the disk is full.
        """
        head = asdict(self) | {"uri": masked(self.uri)}
        del head["points"]
        with appearing(path) as partial:
            partial.write_text("".join(json.dumps(item) + "\n" for item in [head, *self.points]))

    @classmethod
    def read(cls, path: Path) -> "Left":
        """Read it.

        Raises:
            JetloomError: not such a file.
        """
        try:
            head, *points = map(json.loads, path.read_text().splitlines())
            head["description"] = Description.read(head["description"])
            return cls(**head, points=[Point(*point) for point in points])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise JetloomError(f"{path}: not what a training leaves to be sent to MLflow ({error})") from None
