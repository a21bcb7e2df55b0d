"""Any registered model, as Lightning trains it."""

import time
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.training.optimisers import build_optimiser, rate_factor, set_rate
from jetloom.training.progress import Progress

SEED_STRIDE = 1_000_003


class Tagger(LightningModule):
    """Cross entropy over the classes; losses and right answers are summed on the device and read once an epoch.

    Args:
        model: ``forward(batch) -> logits (B, C)``.
        progress: place in the recipe; the module moves it.
        seed: with the step it seeds dropout and the like, so that a resumed training draws the same numbers.
        optimiser_state: of a training that goes on.
    """

    def __init__(
        self, model: nn.Module, progress: Progress, seed: int, optimiser_state: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.model, self.progress, self.seed = model, progress, seed
        self._optimiser_state = optimiser_state
        self._train_totals = torch.zeros(3)
        self._val_totals = torch.zeros(3)
        self._began = time.monotonic()
        self._steps = 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the recipe, with its state if the training goes on."""
        optimiser = build_optimiser(self.model, self.progress.training)
        if self._optimiser_state is not None:
            optimiser.load_state_dict(self._optimiser_state)
        return optimiser

    def on_train_epoch_start(self) -> None:
        """Start the sums of this epoch where they stood."""
        self._train_totals = torch.tensor(self.progress.totals, dtype=torch.float32, device=self.device)
        self._steps = self.progress.position + int(self.trainer.num_training_batches)
        self._began = time.monotonic()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Learning rate and random numbers of this step, from its number alone."""
        progress = self.progress
        factor = rate_factor(progress.training, progress.epochs, progress.epoch, progress.position / self._steps)
        set_rate(self.optimizers().optimizer, factor)
        torch.manual_seed(self.seed * SEED_STRIDE + progress.step * self.trainer.world_size + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross entropy of a batch."""
        loss, totals = self._score(batch)
        self._train_totals += totals
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Count the step."""
        self.progress.position += 1
        self.progress.step += 1

    def on_validation_epoch_start(self) -> None:
        """Empty the sums."""
        self._val_totals = torch.zeros(3, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums."""
        if len(batch.label):
            self._val_totals += self._score(batch)[1]

    def _score(self, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = self.model(batch).float()
        loss = cross_entropy(logits, batch.label)
        right = (logits.detach().argmax(dim=1) == batch.label).sum()
        jets = len(batch.label)
        return loss, torch.stack([loss.detach() * jets, right.float(), torch.full_like(loss.detach(), jets)])

    def read_totals(self) -> list[float]:
        """Sums of this epoch's training batches on this rank."""
        return self._train_totals.tolist()

    def finish_epoch(self) -> dict[str, float]:
        """The row of history.csv of the epoch that ends, over all ranks.

        Raises:
            JetloomError: the loss is not a number.
        """
        totals = torch.stack([self._train_totals, self._val_totals])
        if self.trainer.world_size > 1:
            totals = self.all_gather(totals).sum(dim=0)
        (train_loss, train_right, train_jets), (val_loss, val_right, val_jets) = totals.double().cpu().tolist()
        progress = self.progress
        if train_loss != train_loss or val_loss != val_loss:
            raise JetloomError(
                f"epoch {progress.epoch}: the loss is not a number; lower learning_rate or set gradient_clip "
                f"(now {progress.training.learning_rate} and {progress.training.gradient_clip})"
            )
        seconds = time.monotonic() - self._began
        progress.seconds += seconds
        return {
            "epoch": progress.epoch,
            "step": progress.step,
            "train_loss": train_loss / train_jets,
            "train_accuracy": train_right / train_jets,
            "val_loss": val_loss / val_jets,
            "val_accuracy": val_right / val_jets,
            "learning_rate": self.optimizers().optimizer.param_groups[0]["lr"],
            "batch_size": progress.batch_size,
            "seconds": round(seconds, 3),
        }
