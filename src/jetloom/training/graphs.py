"""Steps of a training recorded once for each shape of batch and then played back: CUDA graphs.

A small network spends its step in telling the GPU what to do, some microseconds for each kernel. A recorded step is
told at once. It is the same kernels on the same memory each time: a batch is copied to where the recorded one lay, loss
and gradients appear where they appeared then, and nothing may depend on what only the host knows of a batch, such as
lengths. Instead there is room for the particles and pairs of nearly all batches; one with more has an ordinary step.
What differs from step to step lies on the device: sums, scale of a loss in 16 bit, seed of random numbers, rate and
counters of an optimiser. What the host has to work out for it is sent there before (``plan``).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch.cuda import Event

from jetloom.batch import Batch, Room
from jetloom.errors import JetloomError

ORDINARY, FIXED = 2, 2
"""Steps of a shape before one is recorded: such as a GPU without graphs would do, and then such as are recorded."""
DEVIATIONS, ROUND = 6.0, 64
"""Room for batches of a shape beyond the first one, in standard deviations of their sums; a multiple of this."""
WAITS = "called a synchronizing"
"""What torch says where the host waits."""


@dataclass
class _Shape:
    """Batches of one shape."""

    batch: Batch
    """Where the recorded step reads."""
    steps: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    loss: Tensor | None = None
    gradients: list[Tensor | None] = field(default_factory=list)
    times: list[tuple[Event, Event]] = field(default_factory=list)
    """Beginning and end of an ordinary step, and of one that was played back."""
    slower: bool = False
    """Playing back takes longer: in fixed shapes padding is carried along."""


class Graphs:
    """Steps of a training, up to the gradients or beyond.

    Args:
        work: from a batch to its loss, with the gradients added to those of the parameters; what it does to anything
            else on the GPU is recorded too.
        parameters: whose gradients they are.
        measured: play back only where that is no slower, by one step of either kind, and where it can be done at all.
        plan: what the host does before a step is played back.
    """

    def __init__(
        self,
        work: Callable[[Batch], Tensor],
        parameters: Iterable[Tensor],
        measured: bool,
        plan: Callable[[], None] = lambda: None,
    ) -> None:
        self.work, self.parameters, self.measured, self.plan = work, list(parameters), measured, plan
        self._refused = False
        self._shapes: dict[tuple[Any, ...], _Shape] = {}
        self._stream = torch.cuda.Stream()
        self._pool: Any = None

    def forget(self) -> None:
        """Record anew from now on: what learns, or how, is not what it was."""
        self._shapes.clear()
        self._pool = None

    def step(self, batch: Batch) -> Tensor | None:
        """Loss of a batch, with the gradients in their places; None: nothing was done, the step is an ordinary one.

        Args:
            batch: on the GPU; more of its shape will come.

        Raises:
            JetloomError: a step cannot be recorded, but is to be.
        """
        if self._refused:
            return None
        key = tuple((value.shape, value.dtype) for value in batch.tensors if value is not None)
        if key not in self._shapes:
            self._shapes[key] = _Shape(batch.map(torch.empty_like)._replace(room=_room(batch)))
        shape = self._shapes[key]
        if not _fits(batch, shape.batch.room) or (self.measured and self._slower(shape)):
            return None
        shape.steps += 1
        number = shape.steps - (ORDINARY if self.measured else 0)
        if number <= 0:
            # The first one of a shape chooses kernels.
            return self._beside(shape, batch, timed=number == 0)
        _copy(batch, shape.batch)
        if number <= FIXED:
            return self._beside(shape, shape.batch, asked=number == FIXED)
        if shape.graph is None and not self._record(shape):
            return None
        return self._play(shape, timed=self.measured and number == FIXED + 2)

    def _beside(self, shape: _Shape, batch: Batch, timed: bool = False, asked: bool = False) -> Tensor:
        """A step that is not recorded, on the stream of those that are.

        Args:
            shape: of the batch.
            batch: as it comes, or where the recorded step reads.
            timed: take its time.
            asked: whether the host waits in it, which in a recorded step it cannot.
        """
        self._clear()
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), _warned() as told:
            torch.cuda.set_sync_debug_mode("warn" if asked else "default")
            try:
                loss: Tensor = _timed(shape, timed, lambda: self.work(batch))
            finally:
                torch.cuda.set_sync_debug_mode("default")
        current.wait_stream(self._stream)
        if asked and any(WAITS in one for one in told):
            self._refuse("in a step the host waits for the GPU")
        return loss

    def _record(self, shape: _Shape) -> bool:
        """Record a step, which does nothing yet; whether that went well."""
        self._clear()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads go on: the loader's ask for page-locked memory, the tracker's reads losses.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                shape.loss = self.work(shape.batch)
        except RuntimeError as error:
            self._clear()
            self._refuse((str(error).splitlines() or [type(error).__name__])[0])
            return False
        # What a recorded step leaves is read before the next one of any shape begins: they share their memory.
        self._pool = graph.pool()
        shape.graph, shape.gradients = graph, [p.grad for p in self.parameters]
        return True

    def _play(self, shape: _Shape, timed: bool) -> Tensor:
        assert shape.graph is not None and shape.loss is not None
        for p, gradient in zip(self.parameters, shape.gradients, strict=True):
            p.grad = gradient
        self.plan()
        _timed(shape, timed, shape.graph.replay)
        return shape.loss

    def _slower(self, shape: _Shape) -> bool:
        """Whether steps of a shape are slower when they are played back, as soon as the GPU has come to the end."""
        if len(shape.times) == 2 and shape.times[1][1].query():
            ordinary, played = (begin.elapsed_time(end) for begin, end in shape.times)
            shape.slower = ordinary < played
            shape.times.clear()
        return shape.slower

    def _clear(self) -> None:
        for p in self.parameters:
            p.grad = None

    def _refuse(self, why: str) -> None:
        """From now on steps are ordinary ones.

        Raises:
            JetloomError: they must not be.
        """
        if not self.measured:
            raise JetloomError(f"training.compile is graphs, but {why}; set it to auto or off")
        print(f"No CUDA graphs: {why}", flush=True)
        self._refused = True


@contextmanager
def _warned() -> Iterator[list[str]]:
    """Warnings of this thread; others may wait, as the tracker's does."""
    told, own = list[str](), get_ident()

    def note(message: Warning | str, *_: Any) -> None:
        if get_ident() == own:
            told.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note  # type: ignore[assignment]
        yield told


def _timed(shape: _Shape, timed: bool, work: Callable[[], Any]) -> Any:
    if not timed:
        return work()
    begin, end = Event(enable_timing=True), Event(enable_timing=True)
    begin.record()
    result = work()
    end.record()
    shape.times.append((begin, end))
    return result


def _room(batch: Batch) -> Room | None:
    """For batches like this one: their particles and pairs, and so many standard deviations more."""
    length = batch.length
    if length is None:
        return None
    jets, slots = batch.mask.shape
    most = jets * slots, jets * slots * (slots + 1) // 2
    numbers = length, length * (length + 1) // 2
    wanted = [number.sum() + DEVIATIONS * len(number) ** 0.5 * number.std() for number in numbers]
    return Room(*(min(-int(-want // ROUND) * ROUND, least) for want, least in zip(wanted, most, strict=True)))


def _fits(batch: Batch, room: Room | None) -> bool:
    length = batch.length
    if room is None or length is None:
        return True
    return bool(length.sum() <= room.particles and (length * (length + 1) // 2).sum() <= room.pairs)


def _copy(batch: Batch, into: Batch) -> None:
    for value, place in zip(batch.tensors, into.tensors, strict=True):
        if value is not None and place is not None:
            place.copy_(value, non_blocking=True)
