"""Fresh processes that share work."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from jetloom.errors import JetloomError

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 10.0
"""Seconds that a process has to clean up when the one that wants its work was killed."""


@contextmanager
def shared(
    work: Callable[[T], R], tasks: Sequence[T], processes: int, start: Callable[..., None], *given: Any, killed: str
) -> Iterator[list["Future[R]"]]:
    """What ``work`` says of each task, as it comes; the processes end with the block, and with this process.

    They are started anew and not forked: the fork of a process with threads may wait for ever for a lock that one of
    them held. When they are ended, also by Ctrl-C or a kill of this process, ``work`` has time to clean up.

    Args:
        work: a function of a module.
        tasks: what it is called with.
        processes: that work at the same time.
        start: called first in each process.
        given: what ``start`` is called with.
        killed: what is said where one of them was killed.

    Raises:
        JetloomError: a process was killed.
    """
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(1, min(processes, len(tasks))), spawn, _start, (start, given))
    try:
        with _without_interrupts():
            waiting = [pool.submit(_do, work, task) for task in tasks]
            # A pool looks after the worker that a submission started only from the next submission on.
            pool.submit(int)
        yield waiting
    except BaseException as error:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise JetloomError(killed) from None
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C is for this process, and later; those that it starts meanwhile do not hear of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Ended(BaseException):
    """Raised in the middle of the work."""


_working = _ended = False


def _start(start: Callable[..., None], given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*given)


def _do(work: Callable[[T], R], task: T) -> R:
    try:
        return _interruptible(work, task)
    finally:
        if _ended:
            os._exit(1)  # a worker of a pool would wait for more work for ever


def _interruptible(work: Callable[[T], R], task: T) -> R:
    global _working
    _working = True
    try:
        return work(task)
    finally:
        _working = False


def _end(number: int, frame: FrameType | None) -> None:
    global _ended
    if not _working:
        os._exit(1)
    # A pool that finds one of its processes gone ends the others once more, in the middle of their cleaning up.
    if not _ended:
        _ended = True
        raise _Ended


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)
