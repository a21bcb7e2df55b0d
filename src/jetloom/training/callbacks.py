"""Checkpoints of a running training, and its end."""

import signal
import time
from pathlib import Path
from typing import Any, cast

from jetloom.batch import Batch
from jetloom.training.checkpoint import SCHEMA_VERSION, load, save, save_model
from jetloom.training.lightning import Callback, LightningModule, Trainer
from jetloom.training.module import Tagger
from jetloom.training.runs import Run

SIGTERM_STATUS = 128 + signal.SIGTERM
RANKS_AGREE_EVERY = 16
"""Steps."""


class Checkpoints(Callback):
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

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM from the beginning."""
        signal.signal(signal.SIGTERM, self._terminate)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM from Lightning, which has set its own handler meanwhile and would end with status 0."""
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Run, batch_idx: int
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
            tagger = cast("Tagger", pl_module)
            tagger.pause()
            self.save(trainer, tagger)
        if self._terminated:
            raise SystemExit(SIGTERM_STATUS)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Do not wait for the end of a long validation.

        Raises:
            SystemExit: status 143, after SIGTERM; ``last.ckpt`` is the one of mid-epoch.
        """
        if self._terminated and trainer.world_size == 1:
            raise SystemExit(SIGTERM_STATUS)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch: history, best model, checkpoint."""
        tagger = cast("Tagger", pl_module)
        progress = tagger.progress
        ended = progress.end_epoch(tagger.finish_epoch())
        restores = progress.training.patience is not None and len(progress.phases) > 1
        if trainer.is_global_zero:
            if ended.best:
                save_model(self.scratch / "best.ckpt", tagger.model, self.described | {"epoch": progress.best_epoch})
            if ended.best_of_phase and restores:
                save_model(self.scratch / "phase.ckpt", tagger.model, {})
        if ended.phase_over and restores:
            # As Keras' EarlyStopping with restore_best_weights, which the recipe of SAL-T starts anew in each phase.
            trainer.strategy.barrier()
            tagger.restore(load(self.scratch / "phase.ckpt")["state_dict"])
        self.save(trainer, tagger)
        terminated = self._terminated
        if trainer.world_size > 1:
            terminated = trainer.strategy.reduce_boolean_decision(terminated, all=False)
        if progress.finished:
            trainer.should_stop = True
        elif terminated:
            raise SystemExit(SIGTERM_STATUS)

    def save(self, trainer: Trainer, tagger: Tagger) -> None:
        """Write all that a second try needs; rank 0 does."""
        self._saved = time.monotonic()
        if trainer.is_global_zero:
            content = {
                "schema_version": SCHEMA_VERSION,
                "identity": self.described["identity"],
                "progress": tagger.progress.state_dict(),
                "model": tagger.model.state_dict(),
                "optimiser": tagger.optimiser.state_dict(),
                "precision": trainer.precision_plugin.state_dict(),
            }
            save(content, self.scratch / "last.ckpt")
