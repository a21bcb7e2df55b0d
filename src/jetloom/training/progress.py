"""Where a training stands: all that a resumed one needs besides weights and optimiser."""

from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from jetloom.config import Monitor, Training


class Ended(NamedTuple):
    """What an epoch was."""

    best: bool
    """The best so far."""
    best_of_phase: bool
    phase_over: bool
    """The next epoch begins another phase."""


@dataclass
class Progress:
    """Place in the recipe, and what has been seen so far."""

    training: Training
    monitor: Monitor
    """What chooses the best epoch."""
    epoch: int = 0
    position: int = 0
    """Batches of this epoch that are done."""
    step: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)
    """Of the task over this epoch's batches on all ranks; empty: nothing yet."""
    spent: float = 0.0
    """Seconds of this epoch before the last checkpoint."""
    history: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int | None = None
    phase_best: float | None = None
    waited: int = 0
    """Epochs since the best one of this phase."""
    seconds: float = 0.0
    resumed: int = 0

    @property
    def phases(self) -> list[tuple[int, int]]:
        """[batch size, epochs] in turn."""
        return self.training.phases

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

    def end_epoch(self, row: dict[str, float]) -> Ended:
        """Take down an epoch and go to the next one, or past the phase if its patience is over."""
        self.history.append(row)
        value = self.monitor.score(row[f"val_{self.monitor.name}"])
        best = self.best is None or value > self.best
        best_of_phase = self.phase_best is None or value > self.phase_best
        if best:
            self.best, self.best_epoch = value, self.epoch
        if best_of_phase:
            self.phase_best, self.waited = value, 0
        else:
            self.waited += 1
        self.epoch, self.position, self.sums, self.spent = self.epoch + 1, 0, {}, 0.0
        ends = list(accumulate(epochs for _, epochs in self.phases))
        if self.training.patience and self.waited >= self.training.patience:
            self.epoch = next(end for end in ends if end >= self.epoch)
        phase_over = self.epoch in ends
        if phase_over:
            self.phase_best, self.waited = None, 0
        return Ended(best, best_of_phase, phase_over and not self.finished)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the recipe."""
        values = asdict(self)
        del values["training"], values["monitor"]
        return values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was called."""
        for name, value in state.items():
            setattr(self, name, value)
