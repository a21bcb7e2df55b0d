"""Any registered model, as Lightning trains it."""

import math
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.tasks.classification.auc import count_, empty_counts, macro_auc
from jetloom.training.optimisers import Ranger, build_optimiser, rate_factor, set_rate
from jetloom.training.progress import Progress

SEED_STRIDE = 1_000_003


class Tagger(LightningModule):
    """Cross entropy over the classes; losses and right answers are summed on the device and read once an epoch.

    Args:
        model: ``forward(batch) -> logits (B, C)``.
        n_classes: C.
        progress: place in the recipe; the module moves it.
        seed: with the step it seeds dropout and the like, so that a resumed training draws the same numbers.
        optimiser_state: of a training that goes on.
    """

    def __init__(
        self,
        model: nn.Module,
        n_classes: int,
        progress: Progress,
        seed: int,
        optimiser_state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.n_classes, self.progress, self.seed = model, n_classes, progress, seed
        self._optimiser_state = optimiser_state
        self._train_totals = torch.zeros(3)
        self._val_totals = torch.zeros(3)
        self._val_counts = torch.empty(0)
        self._began = time.monotonic()
        self._steps = 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the recipe, with its state if the training goes on."""
        optimiser = build_optimiser(self.model, self.progress.training, self.n_classes)
        if self._optimiser_state is not None:
            optimiser.load_state_dict(self._optimiser_state)
        return optimiser

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Go on from earlier weights of the model; the moments of the optimiser stay, as in Keras."""
        self.model.load_state_dict(weights)
        optimiser = self.optimizers().optimizer
        if isinstance(optimiser, Ranger):
            optimiser.take_weights()

    def on_train_epoch_start(self) -> None:
        """Start the sums of this epoch where they stood."""
        # What a checkpoint holds is the sum over all ranks; one of them goes on with it.
        before = self.progress.totals if self.trainer.is_global_zero else [0.0, 0.0, 0.0]
        self._train_totals = self._sums(before)
        self._steps = self.progress.position + int(self.trainer.num_training_batches)
        self._began = time.monotonic() - self.progress.spent

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Learning rate and random numbers of this step, from its number alone."""
        progress = self.progress
        fraction = progress.position / self._steps
        jets = progress.step * progress.batch_size * self.trainer.world_size
        factor = rate_factor(progress.training, progress.epochs, progress.epoch, fraction, jets)
        set_rate(self.optimizers().optimizer, factor)
        self._seed(self.seed * SEED_STRIDE + progress.step * self.trainer.world_size + self.global_rank)

    def _seed(self, number: int) -> None:
        # Not torch.manual_seed: for each accelerator that is not in use it stores the call with a stack trace, 1 ms.
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)
        elif self.device.type == "mps":
            torch.mps.manual_seed(number)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross entropy of a batch."""
        # Counted here: the callbacks' hook after the batch, which saves what is counted, comes before the module's own.
        self.progress.position += 1
        self.progress.step += 1
        if not len(batch.label):
            # The other ranks got the last jets of a bucket; this one takes part with gradients of zero.
            return torch.stack([p.sum() for p in self.model.parameters()]).sum() * 0.0
        loss, totals = self._score(self.model(batch).float(), batch)
        self._train_totals += totals
        return loss

    def on_validation_epoch_start(self) -> None:
        """Empty the sums."""
        self._val_totals = self._sums([0.0, 0.0, 0.0])
        self._val_counts = empty_counts(self.n_classes, self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums."""
        if len(batch.label):
            logits = self.model(batch).float()
            self._val_totals += self._score(logits, batch)[1]
            count_(self._val_counts, logits, batch.label)

    @staticmethod
    def _score(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        loss = cross_entropy(logits, batch.label)
        right = (logits.detach().argmax(dim=1) == batch.label).sum()
        jets = len(batch.label)
        return loss, torch.stack([loss.detach() * jets, right.float(), torch.full_like(loss.detach(), jets)])

    def _sums(self, values: list[float]) -> Tensor:
        # Double: an epoch may have more jets than float32 can count.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return torch.tensor(values, dtype=dtype, device=self.device)

    def pause(self) -> None:
        """Bring ``progress`` up to date in mid-epoch; every rank has to call it.

        Raises:
            JetloomError: the loss is not a number.
        """
        self.progress.totals = self._over_ranks(self._train_totals).tolist()
        self.progress.spent = time.monotonic() - self._began
        self._check_finite(self.progress.totals[0])

    def _over_ranks(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values.clone(), reduce_op="sum") if self.trainer.world_size > 1 else values

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            training = self.progress.training
            raise JetloomError(
                f"epoch {self.progress.epoch + 1}: the loss is {loss}; lower learning_rate (now "
                f"{training.learning_rate:g}) or set gradient_clip (now {training.gradient_clip})"
            )

    def finish_epoch(self) -> dict[str, float]:
        """The row of history.csv of the epoch that ends, over all ranks.

        Raises:
            JetloomError: the loss is not a number.
        """
        totals = self._over_ranks(torch.stack([self._train_totals, self._val_totals]))
        (train_loss, train_right, train_jets), (val_loss, val_right, val_jets) = totals.tolist()
        self._check_finite(train_loss)
        self._check_finite(val_loss)
        progress = self.progress
        seconds = time.monotonic() - self._began
        progress.seconds += seconds
        return {
            "epoch": progress.epoch,
            "step": progress.step,
            "train_loss": train_loss / train_jets,
            "train_accuracy": train_right / train_jets,
            "val_loss": val_loss / val_jets,
            "val_accuracy": val_right / val_jets,
            "val_auc": macro_auc(self._over_ranks(self._val_counts)),
            "learning_rate": self.optimizers().optimizer.param_groups[0]["lr"],
            "batch_size": progress.batch_size,
            "jets": train_jets,
            "seconds": round(seconds, 3),
        }
