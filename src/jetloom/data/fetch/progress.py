"""Show how far downloads are: bars on a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

EVERY = 30.0


class Meter:
    """Bytes, rate and remaining time of several files at once, and of all together.

    Args:
        total: bytes of all files, as far as known.
        console: default: standard error.
    """

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._all = self._progress.add_task("all files", total=total)
        self._lock = threading.Lock()
        self._said = time.monotonic()

    def __enter__(self) -> "Meter":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def file(self, name: str, size: int | None) -> Iterator["Line"]:
        """A line for one file, while it comes."""
        task = self._progress.add_task(name, total=size)
        try:
            yield Line(self, task, size)
        finally:
            self._progress.remove_task(task)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _advance(self, task: TaskID, size: int) -> None:
        for item in (task, self._all):
            self._progress.update(item, advance=size)
        if self._console.is_terminal:
            return
        with self._lock:
            if time.monotonic() - self._said < EVERY:
                return
            self._said = time.monotonic()
        self.say(self._text())

    def _text(self) -> str:
        parts = []
        for task in self._progress.tasks:
            size = f"{decimal(int(task.completed))}" + (f" of {decimal(int(task.total))}" if task.total else "")
            rate = f", {decimal(int(task.speed))}/s" if task.speed else ""
            left = f", {int(task.time_remaining)} s left" if task.time_remaining else ""
            parts.append(f"{task.description}: {size}{rate}{left}")
        return "\n".join(parts)


class Line:
    """The bar of one file."""

    def __init__(self, meter: Meter, task: TaskID, size: int | None) -> None:
        self._meter = meter
        self._task = task
        self._size = size
        self.tick: Callable[[int], None] = lambda size: meter._advance(task, size)

    def total(self, size: int) -> None:
        """The server says how long the file is."""
        self._meter._progress.update(self._task, total=size)
        if self._size is None:
            self._size = size
            whole = self._meter._progress.tasks[0].total or 0
            self._meter._progress.update(self._meter._all, total=whole + size)
