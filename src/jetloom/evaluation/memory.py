"""Peak memory of a piece of work, on the GPU or in this process."""

import gc
from collections.abc import Callable
from pathlib import Path

import torch

from jetloom.system.allocator import M_MMAP_THRESHOLD, glibc, keep_freed

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_SMALL = 64 * 1024

METHODS = {
    "cuda": "torch.cuda.max_memory_allocated over the resident model and batch",
    "cpu": "peak resident set (VmHWM, reset before) over the resident process",
}


def peak_megabytes(work: Callable[[], object], device: torch.device) -> float | None:
    """Memory that ``work`` needs at its peak, over what was in use before, in MB (10^6 bytes).

    On the CPU it is the growth of the resident set's high-water mark, which Linux lets a process reset. For that the
    allocator must give freed tensors back: meanwhile this process maps every block above 64 kB, which slows it down.
    Afterwards it keeps what is freed (:func:`jetloom.system.allocator.keep_freed`). So measure times first.

    Returns:
        None where the system cannot tell (not Linux with glibc).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    libc = glibc()
    if libc is None:
        return None
    libc.mallopt(M_MMAP_THRESHOLD, _SMALL)
    try:
        # The first call makes buffers that stay: they belong to the library, not to the work.
        work()
        gc.collect()
        libc.malloc_trim(0)
        try:
            _CLEAR.write_text("5")
        except OSError:
            return None
        before = _resident("VmRSS")
        work()
        return max(0, _resident("VmHWM") - before) * 1024 / 1e6
    finally:
        keep_freed()


def _resident(key: str) -> int:
    """An entry of /proc/self/status in KiB."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])
