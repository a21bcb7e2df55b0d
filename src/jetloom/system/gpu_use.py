"""What a program uses of its GPUs, asked from the driver now and then."""

import os
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jetloom.system.gpus import visible

PERIOD = 5.0
"""Seconds between two looks."""
_ASKED = "utilization.gpu,memory.used,memory.total"


class GpuUse:
    """Looks at the GPUs of this process, from the first one on.

    Args:
        names: as ``CUDA_VISIBLE_DEVICES`` calls them.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._seen: list[list[tuple[float, float, float]]] = []

    def look(self) -> None:
        """Take down utilisation and memory of each; a driver that does not answer is passed over."""
        command = ["nvidia-smi", f"--id={','.join(self.names)}", f"--query-gpu={_ASKED}"]
        try:
            said = subprocess.run(
                [*command, "--format=csv,noheader,nounits"], capture_output=True, text=True, check=True, timeout=60
            ).stdout
            rows = [tuple(map(float, line.split(","))) for line in said.splitlines() if line.strip()]
        except (OSError, subprocess.SubprocessError, ValueError):
            return
        self._seen.append([(use, used, total) for use, used, total in rows])

    def summary(self) -> dict[str, Any] | None:
        """``gpus``, ``utilisation`` (mean, percent), ``memory_mb`` (most of one GPU), ``memory_total_mb``; or None."""
        flat = [row for look in self._seen for row in look]
        if not flat:
            return None
        return {
            "gpus": len(self.names),
            "utilisation": round(statistics.fmean(use for use, _, _ in flat), 1),
            "memory_mb": max(used for _, used, _ in flat),
            "memory_total_mb": max(total for _, _, total in flat),
        }


@contextmanager
def gpu_use() -> Iterator[GpuUse]:
    """Watch the GPUs that this process may use while the block runs; without one nothing is asked."""
    # A number is the place among the GPUs of the machine for both, a UUID is itself.
    use = GpuUse(visible(os.environ))
    if not use.names:
        yield use
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(PERIOD):
            use.look()

    watcher = threading.Thread(target=watch, name="gpu-use", daemon=True)
    watcher.start()
    try:
        yield use
    finally:
        ended.set()
        watcher.join(timeout=60)
