"""Where the time of some steps goes: a trace of all operators and kernels, and a table."""

import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from jetloom.system.files import appearing
from jetloom.training.lightning import Callback, LightningModule, Trainer
from jetloom.training.runs import Run

SKIPPED = 10
"""First steps, in which kernels are chosen and steps recorded."""
ROWS = 40
"""Operators of the table."""


class Profile(Callback):
    """Looks at consecutive steps of one epoch; writes ``trace.json.gz`` (for ui.perfetto.dev) and ``table.txt``.

    Args:
        steps: how many; fewer if their epoch ends before, and up to the end of a run.
        directory: of the two files.
    """

    def __init__(self, steps: int, directory: Path) -> None:
        self.steps, self.directory = steps, directory
        self._seen = self._jets = 0
        self._profiler: profile | None = None
        self._written = False
        self._between = self._inside = self._last = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Run, batch_idx: int) -> None:
        """Begin, or count the time since the last step."""
        if self._profiler is not None:
            self._between += self._lap()
        elif self._seen >= SKIPPED and not self._written and trainer.is_global_zero:
            activities = [ProfilerActivity.CPU]
            if pl_module.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profiler = profile(activities=activities)
            self._profiler.start()
            self._first = self._seen
            self._lap()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Run, batch_idx: int
    ) -> None:
        """Count the steps of a run; the last one ends it."""
        self._seen += len(batch)
        if self._profiler is None:
            return
        self._inside += self._lap()
        self._jets += sum(len(one.mask) for one in batch)
        if self._seen - self._first >= self.steps or trainer.is_last_batch:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
                self._inside += self._lap()
            self._profiler.stop()
            self._write(self._profiler, pl_module.device.type)
            self._profiler, self._written = None, True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so if there was nothing to look at."""
        if not self._written and trainer.is_global_zero:
            print(f"No profile: {self._seen} steps, of which the first {SKIPPED} are not looked at", flush=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go of it."""
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None

    def _lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds

    def _write(self, profiler: profile, device: str) -> None:
        steps, seconds = self._seen - self._first, self._between + self._inside
        order = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=60)
        with appearing(self.directory) as partial:
            partial.mkdir()
            profiler.export_chrome_trace(str(partial / "trace.json.gz"))
            (partial / "table.txt").write_text(
                f"{steps} steps, {self._jets} jets, {seconds:.4f} s: {self._jets / seconds:,.0f} jets/s while watched, "
                f"which slows them down\n"
                f"in steps: {self._inside:.4f} s, {self._inside / seconds:.1%}\n"
                f"between them, for loader and copies: {self._between:.4f} s, {self._between / seconds:.1%}\n\n"
                f"{table}\n"
            )
        print(f"Profile of {steps} steps: {self.directory}", flush=True)
