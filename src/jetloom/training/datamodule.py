"""Prepared tensors, as Lightning asks for them."""

from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer

from jetloom.data.read.loader import Loader
from jetloom.training.progress import Progress

VALIDATION_BATCH = 512


class Tensors(LightningDataModule):
    """Training and validation split of a manifest.

    The loader yields whole batches, so that there is nothing for torch's DataLoader to collate.

    Args:
        manifest: ``manifest.json``.
        progress: place in the recipe: epoch, batches of it that are done, batch size.
        seed: of the order.
    """

    trainer: Trainer
    """Lightning sets it before it asks for data."""

    def __init__(self, manifest: Path, progress: Progress, seed: int) -> None:
        super().__init__()
        self.manifest, self.progress, self.seed = manifest, progress, seed
        self._loaders: dict[int, Loader] = {}
        self._validation: Loader | None = None

    def train_dataloader(self) -> Loader:
        """What is left of the current epoch; Lightning asks anew for each."""
        size = self.progress.batch_size
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
                    samples_per_epoch=self.progress.training.samples_per_epoch,
                    workers=self.progress.training.workers,
                    pin=self._pin,
                    reweighting=self.progress.training.reweighting,
                )
            }
        loader = self._loaders[size]
        loader.load_state_dict({"epoch": self.progress.epoch, "position": self.progress.position})
        return loader

    @property
    def _pin(self) -> bool:
        # From page-locked memory Lightning's copy to the GPU does not hold up the processor.
        return self.trainer.strategy.root_device.type == "cuda"

    def val_dataloader(self) -> Loader:
        """The validation split, or the same random part of it each time."""
        if self._validation is None:
            samples = self.progress.training.validation_samples
            self._validation = Loader(
                self.manifest,
                "val",
                batch_size=VALIDATION_BATCH,
                shuffle=samples is not None,
                rank=self.trainer.global_rank,
                world_size=self.trainer.world_size,
                samples_per_epoch=samples,
                workers=self.progress.training.workers,
                pin=self._pin,
            )
        self._validation.set_epoch(0)
        return self._validation
