"""An observable of the jet, alone or relative to another one."""

from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.tasks.task import Data, Headed, Sums, Task


class Rescaled(nn.Module):
    """A head whose answers of order one become values in the target's own units.

    Args:
        head: (B, K) to (B, 1).
        log: whether the answer is a logarithm.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, head: nn.Module, log: bool) -> None:
        super().__init__()
        self.head, self.log = head, log
        self.register_buffer("middle", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, jet: Tensor) -> Tensor:
        """(B, 1)."""
        value: Tensor = self.middle + self.spread * self.head(jet).float()
        return value.exp() if self.log else value


class Regression(Task):
    """Huber loss of the target, or of its logarithm, in units of its spread over the training split.

    A jet counts where the target is a finite number and not zero, positive with ``log``, and where ``relative_to`` is
    positive: groomed masses of zero and unmatched partons are in every real sample.

    Args:
        data: classes and observers of the data set.
        target: column of the skims, for example ``jet_sdmass`` (GeV).
        relative_to: column by which it is divided; None: alone.
        log: learn the logarithm, so that relative errors count.
        huber: residual, in spreads, from which on the loss is linear.

    Raises:
        JetloomError: the data have no such column.
    """

    totals: ClassVar[tuple[str, ...]] = ("loss", "error", "counted", "jets")
    scale: ClassVar[str | None] = "jet_pt"

    def __init__(
        self,
        data: Data,
        *,
        target: str,
        relative_to: str | None = None,
        log: bool = True,
        huber: float = 1.0,
    ) -> None:
        super().__init__(data)
        for name in (target, relative_to):
            if name is not None and name not in data.observers:
                known = ", ".join(data.observers) or "none"
                raise JetloomError(f"task.regression: the data have no column {name!r}; allowed: {known}")
        self.target, self.relative_to, self.log, self.huber = target, relative_to, log, huber
        self.quantity = target if relative_to is None else f"{target}_over_{relative_to}"

    @property
    def columns(self) -> list[str]:
        """``predicted_<quantity>``."""
        return [f"predicted_{self.quantity}"]

    @property
    def truths(self) -> list[str]:
        """``true_<quantity>``."""
        return [f"true_{self.quantity}"]

    def attach(self, network: Headed) -> None:
        """The network's own head, in the units of the target."""
        network.head = Rescaled(network.head, self.log)

    def fit(
        self, network: Headed, observers: Callable[[], NDArray[np.float32]], jets: Callable[[], Iterable[Batch]]
    ) -> None:
        """Median of the target, and half the width of its central 68 %.

        Raises:
            JetloomError: fewer than two jets have a target, or all have the same.
        """
        truth = self._quantity(torch.from_numpy(observers()))
        values = truth[self._counts(truth)].double().numpy()
        values = np.log(values) if self.log else values
        low, middle, high = np.quantile(values, [0.16, 0.5, 0.84]) if len(values) > 1 else (0.0, 0.0, 0.0)
        if not high > low:
            raise JetloomError(
                f"task.regression: {self.quantity} is the same in {len(values)} training jets that have it; "
                "expected a quantity that differs between jets"
            )
        assert isinstance(network.head, Rescaled)
        network.head.middle.fill_(float(middle))
        network.head.spread.fill_(float(high - low) / 2)
        self._spread = float(high - low) / 2

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """Mean Huber loss of the jets that have a target."""
        predicted, truth = answer[:, 0], self.truth(batch.observed)[:, 0]
        counts = self._counts(truth)
        # What does not count gets a harmless value: its gradient is zero, not NaN.
        predicted, truth = (torch.where(counts, value, torch.ones_like(value)) for value in (predicted, truth))
        error = (predicted.detach() / truth - 1).abs()
        if self.log:
            tiny = torch.finfo(predicted.dtype).tiny
            predicted, truth = predicted.clamp(min=tiny).log(), truth.log()
        losses = functional.huber_loss(
            predicted / self._spread, truth / self._spread, reduction="none", delta=self.huber
        )
        number = counts.sum()
        loss = (losses * counts).sum() / number.clamp(min=1)
        jets = torch.full_like(loss.detach(), len(truth))
        sums["totals"] += torch.stack([loss.detach() * number, (error * counts).sum(), number.float(), jets])
        return loss

    def row(self, sums: Sums) -> dict[str, float]:
        """``loss`` and ``error``, the mean of |predicted / true - 1|, over the jets that have a target."""
        loss, error, counted, _ = sums["totals"].tolist()
        return {"loss": loss / max(counted, 1), "error": error / max(counted, 1)}

    def truth(self, observers: Tensor) -> Tensor:
        """(B, 1): the target; NaN where a jet has none."""
        truth = self._quantity(observers)
        return torch.where(self._counts(truth), truth, torch.nan)[:, None]

    def _quantity(self, observers: Tensor) -> Tensor:
        value = observers[:, self.data.observers.index(self.target)].float()
        if self.relative_to is None:
            return value
        scale = observers[:, self.data.observers.index(self.relative_to)].float()
        return torch.where(scale > 0, value / scale, torch.nan)

    def _counts(self, truth: Tensor) -> Tensor:
        return truth.isfinite() & (truth > 0 if self.log else truth != 0)
