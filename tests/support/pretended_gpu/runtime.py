"""What ``torch.cuda`` says of the pretended GPU."""

from types import SimpleNamespace
from typing import Any

import torch

from tests.support.pretended_gpu import graphs, record
from tests.support.pretended_gpu.record import ask, note

NAME = "pretended H100"


class _Device:
    """``torch.cuda.device``: there is one."""

    def __init__(self, device: Any = None) -> None:
        del device

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def pretend() -> None:
    """Answer in place of the CUDA runtime."""
    properties = SimpleNamespace(
        name=NAME, major=9, minor=0, total_memory=80 << 30, multi_processor_count=132, warp_size=32,
        regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048,
    )  # fmt: skip
    answers: dict[str, Any] = {
        "_lazy_init": None, "is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0,
        "set_device": None, "get_device_capability": (9, 0), "get_device_name": NAME,
        "get_device_properties": properties, "is_bf16_supported": True, "empty_cache": None, "memory_allocated": 0,
        "max_memory_allocated": 0, "reset_peak_memory_stats": None, "memory_stats": {}, "manual_seed": None,
        "manual_seed_all": None, "get_rng_state_all": [], "set_rng_state_all": None, "set_rng_state": None,
    }  # fmt: skip
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    torch.cuda.get_rng_state = lambda device=None: torch.zeros(16, dtype=torch.uint8)
    torch.cuda.synchronize = lambda device=None: note("wait", "torch.cuda.synchronize")
    torch.cuda.device = torch.cuda._device = _Device  # type: ignore[attr-defined,assignment,misc]
    for one in (graphs.Stream, graphs.Event, graphs.CUDAGraph, graphs.graph):
        setattr(torch.cuda, one.__name__, one)
    torch.cuda.stream = lambda stream: stream  # type: ignore[assignment,misc]
    torch.cuda.current_stream = lambda device=None: graphs.Stream()  # type: ignore[assignment,return-value]
    torch.Tensor.record_stream = lambda tensor, stream: None  # type: ignore[method-assign]
    torch.cuda.set_sync_debug_mode = ask
    torch.cuda.is_current_stream_capturing = record.captures
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False  # type: ignore[attr-defined]
