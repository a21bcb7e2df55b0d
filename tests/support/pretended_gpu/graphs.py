"""Streams, events and graphs of the pretended GPU.

A recorded graph is the operators that ran meanwhile and the tensors that they read and wrote. As on a real GPU, what
was there before is not changed by recording, and playing back runs the same operators on the same memory: a number that
the host put in stays as it was, a batch is only read where it lay.
"""

from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch.utils import _pytree as pytree

from tests.support.pretended_gpu import record

_open: list["CUDAGraph"] = []


class Stream:
    """All work is done when it is asked for."""

    def __init__(self, device: Any = None) -> None: ...

    def wait_stream(self, other: "Stream") -> None: ...

    def record_event(self) -> None: ...

    def wait_event(self, event: None) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class Event:
    """Takes no time, or as long as ``clock`` says."""

    clock: Callable[[], float] = staticmethod(lambda: 0.0)

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = Event.clock()

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: "Event") -> float:
        return end.at - self.at


class CUDAGraph:
    """Operators in their order."""

    def __init__(self) -> None:
        self.tape: list[tuple[Any, Any, Any, Any]] = []
        self._made: set[int] = set()
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def pool(self) -> int:
        return 0

    def run(self, schema: Any, work: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run an operator and write it down."""
        for tensor in _written(schema, args, kwargs):
            if _place(tensor) not in self._made and _place(tensor) not in self._before:
                whole = tensor.detach().as_strided((tensor.untyped_storage().nbytes() // tensor.itemsize,), (1,), 0)
                self._before[_place(tensor)] = whole, whole.clone()
        result = work(*args, **kwargs)
        given = {_place(x) for x in _tensors((args, kwargs))}
        new = [x for x in _tensors(result) if _place(x) not in given]
        self._made |= {_place(x) for x in new}
        self.tape.append((work, args, kwargs, new))
        return result

    def end(self) -> None:
        """Nothing of what was recorded has been done."""
        for whole, before in self._before.values():
            whole.copy_(before)
        record.note("graph", f"{len(self.tape)} operators")

    @torch.no_grad()
    def replay(self) -> None:
        for work, args, kwargs, new in self.tape:
            result = work(*args, **kwargs)
            given = {_place(x) for x in _tensors((args, kwargs))}
            again = [x for x in _tensors(result) if _place(x) not in given]
            for into, value in zip(new, again, strict=True):
                into.copy_(value)


class graph:
    """Record what is done as long as it lasts."""

    def __init__(self, cuda_graph: CUDAGraph, pool: Any, stream: Stream, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local", "other threads would end it"
        self.graph = cuda_graph

    def __enter__(self) -> None:
        self.generator = torch.default_generator.get_state()
        _open.append(self.graph)
        record.capturing = get_ident()

    def __exit__(self, *error: object) -> None:
        record.capturing = None
        _open.remove(self.graph)
        self.graph.end()
        torch.default_generator.set_state(self.generator)


def computed(schema: Any, work: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """An operator, on what tensors of the GPU hold."""
    return _open[-1].run(schema, work, args, kwargs) if record.captures() else work(*args, **kwargs)


def _written(schema: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    found = []
    for index, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[index] if index < len(args) else kwargs.get(argument.name))
    return _tensors(found)


def _tensors(of: Any) -> list[torch.Tensor]:
    return [x for x in pytree.tree_leaves(of) if isinstance(x, torch.Tensor)]


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
