"""What was done on the pretended GPU that costs more than it looks."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Literal, NamedTuple

import torch

Kind = Literal["wait", "copy", "unfused attention", "sorted gradient", "cast", "graph"]
"""wait: the host waits for the GPU; copy: it copies meanwhile; unfused attention: no fused kernel takes these tensors;
sorted gradient: rows that were gathered by index get their gradients one after the other, those of one row in turn;
cast: numbers get another type; graph: one is recorded."""


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
capturing: int | None = None
"""The thread that records a graph; others may wait."""
asked = False
"""Whether torch warns where the host waits."""


WAITS = "called a synchronizing CUDA operation"
_delayed: list[str] = []
"""Warnings of autograd's threads, which torch repeats in the one that called it."""


def captures() -> bool:
    """Whether this thread records a graph, or is one of autograd's."""
    return capturing is not None and (capturing == get_ident() or _of_autograd())


def _of_autograd() -> bool:
    return torch._C._current_autograd_node() is not None


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
    if kind == "wait" and captures():
        raise RuntimeError("operation not permitted when stream is capturing")
    if kind == "wait" and asked:
        if _of_autograd():
            _delayed.append(WAITS)
        else:
            warnings.warn(WAITS, stacklevel=3)
    if _open:
        event = Event(kind, operator, _caller())
        for record in _open:
            record.events.append(event)


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
    while _delayed:
        warnings.warn(_delayed.pop(), stacklevel=2)
