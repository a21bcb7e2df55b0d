"""Prepared tensors, as Lightning asks for them."""

from pathlib import Path
from typing import Any

import torch

from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.training.lightning import LightningDataModule, Trainer
from jetloom.training.progress import Progress
from jetloom.training.runs import LONGEST, Runs, longest_on_a_cpu, whole

VALIDATION_BATCH = 512
GPU_WORKERS = 2
LABELLED_PER_VALIDATION, LEAST_OF_CLASS = 4, 10
"""``validation: scaled``: labelled training jets for each validation jet, and least validation jets of each class."""


class Tensors(LightningDataModule):
    """Training and validation split of a manifest.

    The loader yields whole batches, so that there is nothing for torch's DataLoader to collate; those of the training
    come in runs (:mod:`jetloom.training.runs`), nearly everywhere of one.

    Args:
        manifest: ``manifest.json``.
        progress: place in the recipe: epoch, batches of it that are done, batch size.
        seed: of the order.
        watched: on a CPU no runs, so that single steps can be looked at.
    """

    trainer: Trainer
    """Lightning sets it before it asks for data."""

    def __init__(self, manifest: Path, progress: Progress, seed: int, watched: bool = False) -> None:
        super().__init__()
        self.manifest, self.progress, self.seed, self.watched = manifest, progress, seed, watched
        self._loaders: dict[int, Loader] = {}
        self._validation: Loader | None = None

    def train_dataloader(self) -> Runs:
        """What is left of the current epoch; Lightning asks anew for each."""
        size, training = self.progress.batch_size, self.progress.training
        if size not in self._loaders:
            self._loaders = {
                size: Loader(
                    self.manifest,
                    "train",
                    batch_size=size,
                    shuffle=True,
                    seed=self.seed,
                    rank=self.trainer.global_rank,
                    world_size=self.trainer.world_size,
                    samples_per_epoch=training.samples_per_epoch or self._as_many_steps,
                    one_size=self._pin,
                    workers=self._workers,
                    pin=self._pin,
                    reweighting=training.reweighting,
                    labelled=training.labelled,
                )
            }
        loader = self._loaders[size]
        loader.load_state_dict({"epoch": self.progress.epoch, "position": self.progress.position})
        return Runs(loader, self._longest)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Runs of whole steps stay: they are copied beside the steps (:mod:`jetloom.training.copies`)."""
        if self.trainer.training and whole(self.trainer, self.progress.training):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    @property
    def _longest(self) -> int:
        """Batches of a run; one where Lightning is needed after each."""
        if not whole(self.trainer, self.progress.training):
            return 1
        if self.trainer.strategy.root_device.type == "cuda":
            return LONGEST
        return 1 if self.watched else longest_on_a_cpu(self.progress.training, self.progress.history)

    @property
    def _as_many_steps(self) -> int | None:
        """Jets of an epoch with few labels: as many as with all, so that the steps are as many."""
        if self.progress.training.labelled is None:
            return None
        return Manifest.read(self.manifest).splits["train"].jets

    @property
    def _validated(self) -> int | None:
        """Validation jets where their number follows that of the labelled ones: other labels are labels too."""
        training = self.progress.training
        if training.labelled is None or training.validation == "full" or training.validation_samples is not None:
            return None
        least = LEAST_OF_CLASS * len(Manifest.read(self.manifest).classes)
        return max(training.labelled // LABELLED_PER_VALIDATION, least)

    @property
    def _pin(self) -> bool:
        # From page-locked memory Lightning's copy to the GPU does not hold up the processor.
        return self.trainer.strategy.root_device.type == "cuda"

    @property
    def _workers(self) -> int:
        # While a GPU computes, the thread that drives it has something else to do.
        return max(self.progress.training.workers, GPU_WORKERS if self._pin else 0)

    def val_dataloader(self) -> Loader:
        """The validation split, or the same part of it each time."""
        if self._validation is None:
            samples = self.progress.training.validation_samples
            self._validation = Loader(
                self.manifest,
                "val",
                batch_size=VALIDATION_BATCH,
                shuffle=samples is not None,
                seed=self.seed if self._validated else 0,
                rank=self.trainer.global_rank,
                world_size=self.trainer.world_size,
                samples_per_epoch=samples,
                workers=self._workers,
                pin=self._pin,
                labelled=self._validated,
                at_most=True,
            )
        self._validation.set_epoch(0)
        return self._validation
