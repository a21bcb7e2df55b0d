"""One MLflow run per training, fed from a thread of its own, so that no server can stop or slow a training."""

import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from jetloom.errors import JetloomError
from jetloom.system.masking import masked
from jetloom.tracking.description import Description
from jetloom.tracking.run import BATCH, Point, StoredRun
from jetloom.tracking.spool import Left, Spool
from jetloom.tracking.store import Store, open_client, reason

PERIOD = 1.0
"""Seconds between two batches of metrics."""
PAUSE = 30.0
"""Seconds before a server that failed is tried again."""
SYSTEM_PERIOD = 10.0
"""Seconds between two looks at the machine."""
CLOSE_TIMEOUT = 60.0
"""Seconds that the end of a training waits for the last uploads; for a server that had failed before, a quarter."""
KEPT = 100_000
"""Points that wait in memory for a full disk."""


class Tracker:
    """One MLflow run, written by a thread: points go to a file, and from there to the store as far as it listens.

    Args:
        store: where the run goes.
        description: what it says.
        directory: scratch of the training; a resumed training goes on in its own run.
        live_after: seconds after its start before which nothing is sent; a training that ends well until then leaves
            all of it to a later step, which sends for many: MLflow takes seconds of a core to load.
    """

    def __init__(self, store: Store, description: Description, directory: Path, live_after: float = 0.0) -> None:
        self.store, self.description, self.live_after = store, description, live_after
        self._spool = Spool(directory, time.time())
        self._run: StoredRun | None = None
        self._points: deque[tuple[str, Any, int, int]] = deque()
        self._files: list[Path] = []
        self._dropped = self._files_sent = 0
        self._failing = self._warned = self._open = self._ended = False
        self._status = "RUNNING"
        self._closing = threading.Event()
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._sampled = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """Of the run, once it is in the store."""
        return self._spool.run_id

    @property
    def lost(self) -> int:
        """Points and files that are not in the store."""
        return self._dropped + len(self._points) + self._spool.waiting + len(self._files) - self._files_sent

    def identity(self) -> dict[str, Any]:
        """How other steps find the run: ``training.json`` says it."""
        return {
            "uri": masked(self.store.uri),
            "experiment": self.store.experiment,
            "experiment_id": self._run.experiment if self._run else self.store.experiment_id,
            "run_id": self.run_id,
            "key": self._spool.key,
            "not_sent": self.lost,
        }

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Take down metrics, numbers or scalar tensors; they are sent soon."""
        now = time.time_ns() // 1_000_000
        for name, value in values.items():
            if len(self._points) < KEPT:
                self._points.append((name, value, now, step))
            else:
                self._dropped += 1

    def steps(self, name: str) -> set[int]:
        """Steps of a metric that an earlier try of this training has left on disk."""
        return self._spool.steps(name)

    def close(self, status: str, files: Sequence[Path] = ()) -> None:
        """Send what is left, keep ``files`` with the run and end it; waits for a slow server, but not long.

        What was not sent is left in ``unsent.jsonl`` of the directory.
        """
        self._status, self._files = status, list(files)
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT / 4 if self._failing else CLOSE_TIMEOUT)
        if self._thread.is_alive():
            self._warn("it did not answer in time")
        if self.lost or not self._ended:
            self._leave()

    def _work(self) -> None:
        tried = 0.0
        while True:
            closing = self._closing.wait(PERIOD)
            if closing or time.monotonic() - self._sampled > SYSTEM_PERIOD:
                self._sampled = time.monotonic()
                self.log(_system(self._process), int(time.time() - self._spool.began))
            try:
                self._write()
                if self._is_due() and (closing or not self._failing or time.monotonic() - tried > PAUSE):
                    tried = time.monotonic()
                    self._send(closing)
                    self._failing = False
            except Exception as error:
                # Whatever a server, a driver or a full disk raises: the training must not feel it.
                self._failing = True
                self._warn(reason(error))
            if closing:
                return

    def _is_due(self) -> bool:
        if self.store.offline:
            return False
        # Behind a training that failed no other step comes.
        return self._status == "FAILED" or time.time() - self._spool.began >= self.live_after

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            print(
                f"MLflow at {masked(self.store.uri)}: {why}; the training goes on, what is not sent waits in a file",
                file=sys.stderr,
                flush=True,
            )

    def _write(self) -> None:
        """From memory to the file."""
        if not self._spool.state.is_file():
            self._spool.keep()
        if points := self._in_memory():
            self._spool.append(points)
            for _ in points:
                self._points.popleft()

    def _in_memory(self) -> list[Point]:
        # Scalars on a GPU are read here, off the critical path.
        return [Point(name, float(value), at, step) for name, value, at, step in list(self._points)]

    def _send(self, closing: bool) -> None:
        """From the file to the store."""
        if self._run is None:
            self._run = StoredRun(
                open_client(self.store.uri),
                self.description,
                self._spool.key,
                run_id=self._spool.run_id,
                experiment=self.store.experiment_id,
                lock=self.store.file and self.store.file.with_name(".mlflow.lock"),
            )
        if not self._open:
            self._run.open(int(1000 * self._spool.began))
            self._spool.run_id = self._run.run_id
            self._spool.keep()
            self._run.describe()
            if self._spool.resumed:
                self._run.tag("resumed", "true")
            self._open = True
        while points := self._spool.next(BATCH):
            self._run.send(points)
            self._spool.taken(points)
        if closing:
            for path in self._files[self._files_sent :]:
                self._run.send_file(path)
                self._files_sent += 1
            self._run.end(self._status, int(1000 * time.time()))
            self._ended = True

    def _leave(self) -> None:
        spool = self._spool
        # A thread that hangs in a call has not written down the last ones.
        points = spool.next(spool.waiting) + self._in_memory()
        left = Left(
            self.store.uri,
            spool.key,
            spool.run_id,
            int(1000 * spool.began),
            int(1000 * time.time()),
            self._status,
            self.description,
            [path.name for path in self._files],
            points,
        )
        try:
            left.write(spool.unsent)
        except (OSError, JetloomError) as error:
            self._warn(reason(error))


def _system(process: psutil.Process) -> dict[str, float]:
    values = {
        "system/process_cpu_percent": process.cpu_percent(),
        "system/process_memory_mb": process.memory_info().rss / 2**20,
        "system/memory_percent": psutil.virtual_memory().percent,
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        values["system/gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return values
