"""What a training tells while it runs: a line or a bar of progress, figures for MLflow. It changes nothing learnt."""

import sys
import time
from typing import Any, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jetloom.tracking.tracker import Tracker
from jetloom.training.lightning import Callback, LightningModule, Trainer
from jetloom.training.module import Tagger
from jetloom.training.runs import Run, Runs


class ProgressLine(Callback):
    """A bar with jets per second on a terminal, one line for each epoch in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Progress | None = None
        self._jets = 0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar of an epoch."""
        self._jets, self._began = 0, time.monotonic()
        if sys.stderr.isatty() and trainer.is_global_zero:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
            self._bar = Progress(TextColumn("{task.description}"), *columns, transient=True)
            progress = cast("Tagger", pl_module).progress
            name = f"{self.title}  epoch {progress.epoch + 1}/{progress.epochs}"
            self._task = self._bar.add_task(name, total=cast("Runs", trainer.train_dataloader).batches, rate="")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Run, batch_idx: int
    ) -> None:
        """Move the bar."""
        self._jets += sum(len(one.mask) for one in batch)
        if self._bar is not None:
            rate = self._jets / max(time.monotonic() - self._began, 1e-9)
            self._bar.update(self._task, advance=len(batch), rate=f"{rate:,.0f} jets/s")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how the epoch ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if trainer.is_global_zero:
            progress = cast("Tagger", pl_module).progress
            row = progress.history[-1]
            rate = self._jets * trainer.world_size / row["seconds"] if row["seconds"] else 0.0
            print(
                f"{self.title}  epoch {row['epoch'] + 1:.0f}/{progress.epochs}"
                f"  train {_figures(row, 'train_')}  val {_figures(row, 'val_')}"
                f"  {rate:,.0f} jets/s",
                flush=True,
            )
            if remark := cast("Tagger", pl_module).task.remark(row):
                print(f"{self.title}  {remark}", flush=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


class TrackerCallback(Callback):
    """Hands the figures of each epoch to the tracker, and the loss every some steps."""

    STEPS = 20

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Run, batch_idx: int
    ) -> None:
        """Every ``STEPS`` steps; the value is read later, off the critical path."""
        first = cast("Tagger", pl_module).progress.step - len(batch) + 1
        for step, loss in enumerate(outputs["loss"].detach().reshape(-1), first):
            if step % self.STEPS == 0:
                self.tracker.log({"train/step_loss": loss}, step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What a killed training had not handed on: its checkpoint comes first."""
        written = self.tracker.steps("epoch")
        for row in cast("Tagger", pl_module).progress.history:
            if int(row["step"]) not in written:
                self._log(row)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All figures of the epoch."""
        self._log(cast("Tagger", pl_module).progress.history[-1])

    def _log(self, row: dict[str, float]) -> None:
        names = {name.replace("_", "/", 1): name for name in row if name.startswith(("train_", "val_"))}
        names |= {"train/learning_rate": "learning_rate", "train/epoch_seconds": "seconds", "epoch": "epoch"}
        self.tracker.log({name: row[column] for name, column in names.items()}, int(row["step"]))


def _figures(row: dict[str, float], split: str) -> str:
    """What both splits have, in the order of the task."""
    names = [name.removeprefix("train_") for name in row if name.startswith("train_")]
    return " ".join(f"{row[split + name]:.4f}" for name in names)
