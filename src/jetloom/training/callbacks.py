"""What happens beside a training: checkpoints, one line or a bar of progress, figures for MLflow."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jetloom.batch import Batch
from jetloom.tracking.tracker import Tracker
from jetloom.training.checkpoint import SCHEMA_VERSION, load, save, save_model
from jetloom.training.module import Tagger

SIGTERM_STATUS = 128 + signal.SIGTERM
RANKS_AGREE_EVERY = 16
"""Steps."""


class Keeper(Callback):
    """Keeps ``last.ckpt`` and ``best.ckpt`` in the scratch directory; ends the training at its end or at SIGTERM.

    Args:
        scratch: directory of the running training.
        described: what ``best.ckpt`` says of the model.
        minutes: longest time between two ``last.ckpt``.
    """

    def __init__(self, scratch: Path, described: dict[str, Any], minutes: float) -> None:
        self.scratch, self.described, self.period = scratch, described, 60 * minutes
        self._saved = time.monotonic()
        self._terminated = False

    def on_fit_start(self, trainer: Trainer, pl_module: Tagger) -> None:
        """Take SIGTERM from the beginning."""
        signal.signal(signal.SIGTERM, self._terminate)

    def on_train_start(self, trainer: Trainer, pl_module: Tagger) -> None:
        """Take SIGTERM from Lightning, which has set its own handler meanwhile and would end with status 0."""
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Tagger, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Save when it is time; after the last batch the end of the epoch does.

        Raises:
            SystemExit: status 143, after SIGTERM.
        """
        if trainer.is_last_batch:
            return
        due = self._terminated or time.monotonic() - self._saved > self.period
        if trainer.world_size > 1:
            # All ranks stop at the same step; asked rarely, since it makes them wait for each other.
            if batch_idx % RANKS_AGREE_EVERY:
                return
            self._terminated = trainer.strategy.reduce_boolean_decision(self._terminated, all=False)
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        if due:
            pl_module.pause()
            self.save(trainer, pl_module)
        if self._terminated:
            raise SystemExit(SIGTERM_STATUS)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Tagger, *_: Any) -> None:
        """Do not wait for the end of a long validation.

        Raises:
            SystemExit: status 143, after SIGTERM; ``last.ckpt`` is the one of mid-epoch.
        """
        if self._terminated and trainer.world_size == 1:
            raise SystemExit(SIGTERM_STATUS)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Tagger) -> None:
        """Close the epoch: history, best model, checkpoint."""
        progress = pl_module.progress
        ended = progress.end_epoch(pl_module.finish_epoch())
        restores = progress.training.patience is not None and len(progress.phases) > 1
        if trainer.is_global_zero:
            if ended.best:
                save_model(self.scratch / "best.ckpt", pl_module.model, self.described | {"epoch": progress.best_epoch})
            if ended.best_of_phase and restores:
                save_model(self.scratch / "phase.ckpt", pl_module.model, {})
        if ended.phase_over and restores:
            # As Keras' EarlyStopping with restore_best_weights, which the recipe of SAL-T starts anew in each phase.
            trainer.strategy.barrier()
            pl_module.restore(load(self.scratch / "phase.ckpt")["state_dict"])
        self.save(trainer, pl_module)
        terminated = self._terminated
        if trainer.world_size > 1:
            terminated = trainer.strategy.reduce_boolean_decision(terminated, all=False)
        if progress.finished:
            trainer.should_stop = True
        elif terminated:
            raise SystemExit(SIGTERM_STATUS)

    def save(self, trainer: Trainer, pl_module: Tagger) -> None:
        """Write all that a second try needs; rank 0 does."""
        self._saved = time.monotonic()
        if trainer.is_global_zero:
            content = {
                "schema_version": SCHEMA_VERSION,
                "progress": pl_module.progress.state_dict(),
                "model": pl_module.model.state_dict(),
                "optimiser": pl_module.optimizers().optimizer.state_dict(),
                "precision": trainer.precision_plugin.state_dict(),
            }
            save(content, self.scratch / "last.ckpt")


class Narrator(Callback):
    """A bar with jets per second on a terminal, one line for each epoch in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Progress | None = None
        self._jets = 0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Tagger) -> None:
        """Start the bar of an epoch."""
        self._jets, self._began = 0, time.monotonic()
        if sys.stderr.isatty() and trainer.is_global_zero:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
            self._bar = Progress(TextColumn("{task.description}"), *columns, transient=True)
            name = f"{self.title}  epoch {pl_module.progress.epoch + 1}/{pl_module.progress.epochs}"
            self._task = self._bar.add_task(name, total=int(trainer.num_training_batches), rate="")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Tagger, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Move the bar."""
        self._jets += len(batch.label)
        if self._bar is not None:
            rate = self._jets / max(time.monotonic() - self._began, 1e-9)
            self._bar.update(self._task, advance=1, rate=f"{rate:,.0f} jets/s")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Tagger) -> None:
        """Say how the epoch ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if trainer.is_global_zero:
            row = pl_module.progress.history[-1]
            rate = self._jets * trainer.world_size / row["seconds"] if row["seconds"] else 0.0
            print(
                f"{self.title}  epoch {row['epoch'] + 1:.0f}/{pl_module.progress.epochs}"
                f"  train {row['train_loss']:.4f} {row['train_accuracy']:.4f}"
                f"  val {row['val_loss']:.4f} {row['val_accuracy']:.4f}"
                f"  {rate:,.0f} jets/s",
                flush=True,
            )

    def on_exception(self, trainer: Trainer, pl_module: Tagger, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


class Reporter(Callback):
    """Hands loss and accuracy to the tracker: each epoch, and the loss every some steps."""

    STEPS = 20

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Tagger, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Every ``STEPS`` steps; the value is read later, off the critical path."""
        step = pl_module.progress.step
        if step % self.STEPS == 0:
            self.tracker.log({"train/step_loss": outputs["loss"].detach()}, step)

    def on_train_start(self, trainer: Trainer, pl_module: Tagger) -> None:
        """What a killed training had not handed on: its checkpoint comes first."""
        written = self.tracker.steps("epoch")
        for row in pl_module.progress.history:
            if int(row["step"]) not in written:
                self._log(row)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Tagger) -> None:
        """All figures of the epoch."""
        self._log(pl_module.progress.history[-1])

    def _log(self, row: dict[str, float]) -> None:
        names = {
            "train/loss": "train_loss",
            "train/accuracy": "train_accuracy",
            "val/loss": "val_loss",
            "val/accuracy": "val_accuracy",
            "val/auc": "val_auc",
            "train/learning_rate": "learning_rate",
            "train/epoch_seconds": "seconds",
            "epoch": "epoch",
        }
        self.tracker.log({name: row[column] for name, column in names.items()}, int(row["step"]))
