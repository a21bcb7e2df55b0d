"""What a network can be trained to do: heads, loss, the sums and figures of an epoch, what is said of a jet."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.config import Evaluation

Sums = dict[str, Tensor]
"""What is summed over the jets of a pass, on the device; ranks just add up."""

Input = tuple[str, float | None, float | None, float | None, float | None]
"""An input of a particle and its standardisation, as manifests hold them."""


class Data(NamedTuple):
    """What a task has to know of the data."""

    classes: list[str]
    observers: list[str]
    """Columns of ``Batch.observers``."""
    kind: str = "jets"
    """``jets`` or ``points``."""
    inputs: Sequence[Input] = ()
    """Columns of ``Batch.features``: name, subtract, multiply, low and high."""
    max_particles: int = 128
    """Slots of the longest jet."""
    codes: int | None = None
    """How many codes there are in data of codes."""


Encode = Callable[[str, int, bool], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""From a split (``train`` or ``evaluated``), a number of jets, and whether trained or with the random weights of the
same seed, to what the encoder makes of at most so many jets in a random order, (n, K) ``Encoded.jet``, and their
labels."""


Over = Callable[[str, Callable[[nn.Module, Batch], tuple[Tensor, ...]]], Iterator[tuple[NDArray[Any], ...]]]
"""From a split (``train`` or ``evaluated``) and a function of the trained network and a batch to what it gives of one
batch after another, jets in a random order."""


class Seen(NamedTuple):
    """What a task says of N jets of a split, and what is true of them."""

    values: NDArray[np.float32]
    """(N, K), in the order of ``Task.columns``."""
    truths: NDArray[np.float32]
    """(N, L), in the order of ``Task.truths``."""
    label: NDArray[np.int16]
    """(N,) class index."""
    scale: NDArray[np.float32] | None
    """(N,) ``Task.scale`` of the jets; None: not known."""
    encode: Encode | None = None
    """For figures of merit of the encoder; None: cannot be asked."""
    over: Over | None = None
    """For figures of merit of more than single jets; None: cannot be asked."""
    truth: Over | None = None
    """The same of the jets of another data set, which those of a mixture should be like; None: there is none."""


class Question(NamedTuple):
    """How an evaluation is to be done."""

    settings: Evaluation
    """Bootstrap samples, coverage and the like."""
    background: str | None
    """Class against which rejections are quoted; None: all the others."""
    working_points: Mapping[str, float]
    """Signal efficiency for each signal class that has one."""
    seed: int
    """Of the bootstrap."""


class Headed(Protocol):
    """What a task may know of a network: the widths that its heads read, and the head."""

    jet_width: int
    particle_width: int | None
    head: nn.Module


class Task(ABC):
    """One aim of a training.

    Args:
        data: classes and observers of the data set.
    """

    totals: ClassVar[tuple[str, ...]] = ("loss", "jets")
    """Names of what :meth:`sums` holds of each jet; the first is the loss, the last the number of jets."""
    scale: ClassVar[str | None] = None
    """Observer against which figures of merit are binned."""
    output: ClassVar[str] = "values"
    """Name of what comes out of an exported network."""

    def __init__(self, data: Data) -> None:
        self.data = data

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the K numbers that :meth:`outputs` gives for each jet."""

    @property
    def truths(self) -> list[str]:
        """Names of the numbers that :meth:`truth` gives for each jet, beside its label."""
        return []

    @property
    def width(self) -> int:
        """Outputs of the network's own head."""
        return len(self.columns)

    def attach(self, network: Headed) -> None:  # noqa: B027 (a network's own head serves most tasks)
        """Give a network the heads of this task in place of its own; here: its own serve."""

    def fit(  # noqa: B027 (likewise)
        self, network: Headed, observers: Callable[[], NDArray[np.float32]], jets: Callable[[], Iterable[Batch]]
    ) -> None:
        """Set what is known before the training from the training split.

        Args:
            network: with the heads of this task.
            observers: reads those of many jets of it, (N, M) in the order of ``data.observers``.
            jets: reads all of it, batch by batch in a random order that the seed of the training decides.
        """

    def sums(self, device: torch.device) -> Sums:
        """Sums of no jets, of a pass in training."""
        # Double: an epoch may have more jets than float32 can count. An Apple GPU has none.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return {"totals": torch.zeros(len(self.totals), dtype=dtype, device=device)}

    def validation_sums(self, device: torch.device) -> Sums:
        """Sums of no jets, of a pass in validation."""
        return self.sums(device)

    def step(self, model: nn.Module, batch: Batch, sums: Sums) -> Tensor:
        """The loss of a batch in training; adds to the sums."""
        return self.loss(model(batch).float(), batch, sums)

    def validate(self, model: nn.Module, batch: Batch, sums: Sums) -> None:
        """Add a batch of the validation to the sums."""
        self.score(model(batch).float(), batch, sums)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """What is said of a batch that is evaluated, for :meth:`outputs`; the same each time."""
        answer: Tensor = model(batch).float()
        return answer

    @abstractmethod
    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """Mean loss of what the network says of a batch; adds to the sums.

        Args:
            answer: (B, width) float32.
            batch: with label or observers.
            sums: of :meth:`sums` or :meth:`validation_sums`.
        """

    def score(self, answer: Tensor, batch: Batch, sums: Sums) -> None:
        """Add what the network says of a batch to the sums of a validation; here: the same as in training."""
        self.loss(answer, batch, sums)

    def row(self, sums: Sums) -> dict[str, float]:
        """Figures of a pass from its sums, by their names in history.csv without ``train_`` or ``val_``."""
        *values, jets = sums["totals"].tolist()
        return {name: value / jets for name, value in zip(self.totals, values, strict=False)}

    def remark(self, row: Mapping[str, float]) -> str:
        """What a user should know at the end of an epoch, from its row of history.csv; nothing, if all is well."""
        return ""

    def outputs(self, answer: Tensor) -> Tensor:
        """What is written of each jet, (B, K), from what the network says, (B, width)."""
        return answer

    def said(self, answer: Tensor) -> str:
        """What is said of one jet, (1, width), in a word."""
        return f"{self.outputs(answer)[0, 0].item():.4g}"

    def truth(self, observers: Tensor) -> Tensor:
        """(B, len(truths)): what should have come out, from the observers (B, M); NaN where a jet has none."""
        return observers.new_zeros((len(observers), 0))
