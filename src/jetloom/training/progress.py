"""Where a training stands: all that a resumed one needs besides weights and optimiser."""

from dataclasses import asdict, dataclass, field
from typing import Any

from jetloom.config import Training

COLUMNS = [
    *("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("learning_rate", "batch_size", "seconds"),
]
"""Of history.csv."""


@dataclass
class Progress:
    """Place in the recipe, and what has been seen so far."""

    training: Training
    epoch: int = 0
    position: int = 0
    """Batches of this epoch that are done."""
    step: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Of this epoch's batches: summed loss, right answers, jets."""
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int | None = None
    waited: int = 0
    """Epochs of this phase without a better one."""
    seconds: float = 0.0
    resumed: int = 0

    @property
    def phases(self) -> list[tuple[int, int]]:
        """[batch size, epochs] in turn."""
        return self.training.batch_phases or [(self.training.batch_size, self.training.epochs)]

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(epochs for _, epochs in self.phases)

    @property
    def batch_size(self) -> int:
        """Jets per step and device in this epoch."""
        end = 0
        for size, epochs in self.phases:
            end += epochs
            if self.epoch < end:
                return size
        return self.phases[-1][0]

    @property
    def finished(self) -> bool:
        """Whether the recipe is done."""
        return self.epoch >= self.epochs

    def end_epoch(self, row: dict[str, float]) -> bool:
        """Take down an epoch and go to the next one, or past the phase if its patience is over.

        Returns:
            Whether this epoch is the best so far.
        """
        self.history.append(row)
        value = row["val_accuracy"] if self.training.monitor == "accuracy" else -row["val_loss"]
        better = self.best is None or value > self.best
        if better:
            self.best, self.best_epoch, self.waited = value, self.epoch, 0
        else:
            self.waited += 1
        self.epoch, self.position, self.totals = self.epoch + 1, 0, [0.0, 0.0, 0.0]
        ends = [sum(epochs for _, epochs in self.phases[: index + 1]) for index in range(len(self.phases))]
        if self.training.patience and self.waited >= self.training.patience:
            self.epoch, self.waited = next(end for end in ends if end >= self.epoch), 0
        elif self.epoch in ends:
            self.waited = 0
        return better

    def state_dict(self) -> dict[str, Any]:
        """Everything but the recipe."""
        values = asdict(self)
        del values["training"]
        return values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was called."""
        for name, value in state.items():
            setattr(self, name, value)
