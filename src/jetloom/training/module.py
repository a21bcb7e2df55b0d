"""Any network and any task, as Lightning trains them."""

import math
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.network import Network
from jetloom.tasks.task import Sums, Task
from jetloom.training.copies import Copies
from jetloom.training.flat_ranger import FlatRanger
from jetloom.training.freezing import let_learn
from jetloom.training.graphs import Graphs
from jetloom.training.lightning import LightningModule, LightningOptimizer
from jetloom.training.optimisers import Ranger, build_optimiser, rate_factor, set_rate, take_state
from jetloom.training.progress import Progress
from jetloom.training.runs import Run, Runs, whole

SEED_STRIDE = 1_000_003
Step = Callable[[nn.Module, Batch, Sums], Tensor]
"""Of a task: loss of a batch, which adds to the sums."""


class Tagger(LightningModule):
    """The task gives loss and sums; the sums stay on the device and are read once an epoch.

    Args:
        model: what the task trains.
        task: what it is trained to do.
        progress: place in the recipe; the module moves it.
        seed: with the step it seeds dropout and the like, so that a resumed training draws the same numbers.
        optimiser_state: of a training that goes on.
    """

    device_name: str
    """Where it was trained; known at the end."""

    def __init__(
        self,
        model: Network,
        task: Task,
        progress: Progress,
        seed: int,
        optimiser_state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.task, self.progress, self.seed = model, task, progress, seed
        self._step: Step = task.step
        self._optimiser_state = optimiser_state
        if progress.training.freeze and not progress.training.unfreeze_after:
            # Before the processes of a training agree on what learns, and before the optimiser takes it up.
            let_learn(model, encoder=False)
        self._train_sums: Sums = {}
        self._val_sums: Sums = {}
        self._began = time.monotonic()
        self._steps = 1
        self._factor = 1.0
        self._graphs: Graphs | None = None
        self._copies: Copies | None = None
        self._recorded: tuple[int, bool] | None = None
        self._done = False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the recipe, with its state if the training goes on."""
        recorded = self.device.type == "cuda" and whole(self.trainer, self.progress.training)
        optimiser = build_optimiser(self.model, self.progress.training, recorded)
        if self._optimiser_state is not None:
            take_state(optimiser, self._optimiser_state)
        return optimiser

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """The one that :meth:`configure_optimizers` made, without what Lightning wraps around it."""
        return cast("LightningOptimizer", self.optimizers()).optimizer

    def on_train_start(self) -> None:
        """Record steps, or compile them, where the recipe says so; whole ones leave nothing to Lightning."""
        compiled = self.progress.training.compile
        if compiled == "inductor":
            self._step = _compiled(self.task.step, self.device)
        elif compiled != "off" and self.device.type == "cuda" and self.trainer.world_size == 1:
            self._graphs = Graphs(self._learn, self.model.parameters(), measured=compiled == "auto", plan=self._plan)
        if whole(self.trainer, self.progress.training):
            self.automatic_optimization = False
            self._copies = Copies(self.device) if self.device.type == "cuda" else None

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Go on from earlier weights of the model; the moments of the optimiser stay, as in Keras."""
        self.model.load_state_dict(weights)
        if isinstance(self.optimiser, Ranger | FlatRanger):
            self.optimiser.take_weights()

    def on_train_epoch_start(self) -> None:
        """Start the sums of this epoch where they stood; freeze the encoder, or no more."""
        frozen = self.progress.training.frozen(self.progress.epoch)
        if self.progress.training.freeze:
            let_learn(self.model, encoder=not frozen)
        if self._graphs is not None and self._recorded != (recorded := (self.progress.batch_size, frozen)):
            self._graphs.forget()
            self._recorded = recorded
        # The same tensors in each epoch: recorded steps add to them.
        self._train_sums = self._train_sums or self.task.sums(self.device)
        for total in self._train_sums.values():
            total.zero_()
        # What a checkpoint holds is the sum over all ranks; one of them goes on with it.
        if self.trainer.is_global_zero:
            for name, value in self.progress.sums.items():
                self._train_sums[name].copy_(torch.tensor(value, dtype=torch.float64))
        self._steps = self.progress.position + cast("Runs", self.trainer.train_dataloader).batches
        self._began = time.monotonic() - self.progress.spent

    def _begin(self) -> None:
        """Learning rate and random numbers of the next step, from its number alone."""
        progress = self.progress
        fraction = progress.position / self._steps
        jets = progress.step * progress.batch_size * self.trainer.world_size
        self._factor = rate_factor(progress.training, progress.epochs, progress.epoch, fraction, jets)
        set_rate(self.optimiser, self._factor)
        self._seed(self.seed * SEED_STRIDE + progress.step * self.trainer.world_size + self.global_rank)

    def _seed(self, number: int) -> None:
        # Not torch.manual_seed: for each accelerator that is not in use it stores the call with a stack trace, 1 ms.
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)
        elif self.device.type == "mps":
            torch.mps.manual_seed(number)

    def training_step(self, run: Run, batch_idx: int) -> Tensor:
        """Mean loss of the one batch, from which Lightning learns; of each, (steps,), after whole steps."""
        if self.automatic_optimization:
            (batch,) = run
            return self._loss(batch)
        # A recorded step writes its loss to where the one before did.
        return torch.stack([self._loss(batch).clone() for batch in (self._copies.of(run) if self._copies else run)])

    def _loss(self, batch: Batch) -> Tensor:
        """A step: mean loss of a batch; if it is a whole one, or recorded, with what Lightning would do after it."""
        self._begin()
        # Counted here: the callbacks' hook after the batch, which saves what is counted, comes before the module's own.
        self.progress.position += 1
        self.progress.step += 1
        if not len(batch.mask):
            # The other ranks got the last jets of a bucket; this one takes part with gradients of zero.
            return torch.stack([p.sum() for p in self.model.parameters()]).sum() * 0.0
        loss = None
        if self._graphs is not None and len(batch.mask) == self.progress.batch_size:
            loss = self._graphs.step(batch)
        if loss is None and not self.automatic_optimization:
            self.optimiser.zero_grad()
            loss = self._learn(batch)
        self._done = loss is not None
        return self._step(self.model, batch, self._train_sums) if loss is None else loss

    def _learn(self, batch: Batch) -> Tensor:
        """Loss of a batch, and its gradients, which Lightning would ask for after it; in a whole step also the rest."""
        loss = self._step(self.model, batch, self._train_sums)
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        with torch.autocast(self.device.type, enabled=False):
            (loss if scaler is None else scaler.scale(loss)).backward()
            if not self.automatic_optimization:
                self._update()
        return loss.detach()

    def _update(self) -> None:
        """Clip the gradients and move the weights, as Lightning does where a step is not a whole one."""
        optimiser, largest = self.optimiser, self.progress.training.gradient_clip
        if largest is not None:
            nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], largest)
        optimiser.step()

    def _plan(self) -> None:
        """What the host does for a step that is played back."""
        if isinstance(self.optimiser, FlatRanger) and not self.automatic_optimization:
            self.optimiser.plan()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Forget the gradients, if they are not those of this step already."""
        if not self._done:
            optimizer.zero_grad()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients of the loss, if they are not there already."""
        if not self._done:
            super().backward(loss, *args, **kwargs)

    def on_validation_epoch_start(self) -> None:
        """Empty the sums."""
        self._val_sums = self.task.validation_sums(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums; what is drawn at random is the same in every epoch."""
        self._seed(self.seed * SEED_STRIDE + batch_idx * self.trainer.world_size + self.global_rank)
        if len(batch.mask):
            self.task.validate(self.model, batch, self._val_sums)

    def pause(self) -> None:
        """Bring ``progress`` up to date in mid-epoch; every rank has to call it.

        Raises:
            JetloomError: the loss is not a number.
        """
        sums = self._over_ranks(self._train_sums)
        self.progress.sums = {name: value.tolist() for name, value in sums.items()}
        self.progress.spent = time.monotonic() - self._began
        self._check_finite(sums)

    def _over_ranks(self, sums: Sums) -> Sums:
        if self.trainer.world_size == 1:
            return sums
        reduce = self.trainer.strategy.reduce
        return {name: reduce(value.clone(), reduce_op="sum") for name, value in sums.items()}

    def _check_finite(self, sums: Sums) -> None:
        loss = sums["totals"].tolist()[0]
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
        train, val = self._over_ranks(self._train_sums), self._over_ranks(self._val_sums)
        self._check_finite(train)
        self._check_finite(val)
        progress = self.progress
        seconds = time.monotonic() - self._began
        progress.seconds += seconds
        return {
            "epoch": progress.epoch,
            "step": progress.step,
            **{f"train_{name}": value for name, value in self.task.row(train).items()},
            **{f"val_{name}": value for name, value in self.task.row(val).items()},
            "learning_rate": progress.training.learning_rate * self._factor,
            "batch_size": progress.batch_size,
            # Trained on in this epoch, by all processes together.
            "jets": train["totals"].tolist()[-1],
            "seconds": round(seconds, 3),
        }


def _compiled(step: Step, device: torch.device) -> Step:
    """A step by ``torch.compile``, which must not look at lengths."""
    # Of a bucket a GPU has batches of one size; a CPU's are nearly equal.
    compiled: Step = torch.compile(step, dynamic=False if device.type == "cuda" else None)
    return lambda model, batch, sums: compiled(model, batch._replace(length=None), sums)
