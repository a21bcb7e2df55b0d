"""What was done on the pretended GPU that costs more than it looks."""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Literal, NamedTuple

Kind = Literal["wait", "copy", "unfused attention", "sorted gradient", "graph"]
"""wait: the host waits for the GPU; copy: it copies meanwhile; unfused attention: no fused kernel takes these tensors;
sorted gradient: rows that were gathered by index get their gradients one after the other, those of one row in turn;
graph: one is recorded."""


class Event(NamedTuple):
    """One of them."""

    kind: Kind
    operator: str
    where: str
    """File and line of jetloom, or of torch's or Lightning's training loop."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.operator} in {self.where}"


class Record:
    """What was written down."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.operators = 0
        """Operators that ran on the GPU, views among them."""

    def of(self, kind: Kind) -> list[str]:
        """Those of a kind, each once."""
        return sorted({str(event) for event in self.events if event.kind == kind})


_open: list[Record] = []
_recorder: int | None = None
"""Thread that records a graph."""
asked = False
"""Whether torch warns where the host waits."""


@contextmanager
def recording() -> Iterator[Record]:
    """Write down what is done as long as it lasts."""
    record = Record()
    _open.append(record)
    try:
        yield record
    finally:
        _open.remove(record)


def note(kind: Kind, operator: str) -> None:
    """Write down an event.

    Raises:
        RuntimeError: the host would wait while a graph is recorded.
    """
    if kind == "wait" and capturing():
        raise RuntimeError("operation not permitted when stream is capturing")
    if kind == "wait" and asked:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=3)
    if _open:
        event = Event(kind, operator, _caller())
        for record in _open:
            record.events.append(event)


def capture(on: bool) -> None:
    """A graph is recorded from now on, or no more."""
    global _recorder
    _recorder = get_ident() if on else None


def capturing() -> bool:
    """Whether what this thread does is recorded: the one that said so, and that of the backward pass.

    Python has not begun the latter; those that it has, such as the tracker's, go on meanwhile.
    """
    own = get_ident()
    return _recorder is not None and (own == _recorder or own not in {thread.ident for thread in threading.enumerate()})


def count() -> None:
    """Count an operator."""
    for record in _open:
        record.operators += 1


LOOPS = ("/torch/optim/", "/torch/amp/", "/torch/nn/utils/", "/lightning/")


def _caller() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        name, line = frame.f_code.co_filename, frame.f_lineno
        if "/src/jetloom/" in name:
            return f"{name.rpartition('/src/')[2]}:{line}"
        if any(part in name for part in LOOPS):
            return f"{name.rpartition('/site-packages/')[2]}:{line}"
        frame = frame.f_back
    return "the backward pass"


def ask(mode: str) -> None:
    """``torch.cuda.set_sync_debug_mode``."""
    global asked
    asked = mode == "warn"
