"""What every architecture is: an encoder of jets, which is its paper's network, and a head, its last layers."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import masters, parts

Result = TypeVar("Result")


class Encoded(NamedTuple):
    """What an encoder makes of a batch of B jets with N slots for particles."""

    particles: Tensor | None
    """(B, N, D), zero where padded: what is known of each particle; None in networks that lose the particles."""
    mask: Tensor
    """(B, N) bool, True for a real particle."""
    jet: Tensor
    """(B, K): what the paper's last layers read."""
    order: Tensor | None = None
    """(B, N) slot of the batch that each particle stood in, where the network sorts them; None: where they are."""

    @property
    def kept(self) -> Tensor:
        """``particles``.

        Raises:
            JetloomError: the network loses them.
        """
        if self.particles is None:
            raise JetloomError("the network keeps no particles, only what it knows of the jet")
        return self.particles

    def in_place(self, width: int) -> "Encoded":
        """The particles in the slots of their batch, which has ``width`` of them."""
        if self.order is None or self.particles is None:
            return self
        order = self.order[..., None].expand_as(self.particles)
        particles = torch.zeros_like(self.particles).scatter(1, order, self.particles)
        mask = torch.zeros_like(self.mask).scatter(1, self.order, self.mask)
        missing = width - mask.shape[1]
        return Encoded(functional.pad(particles, (0, 0, 0, missing)), functional.pad(mask, (0, missing)), self.jet)


class Looks(NamedTuple):
    """What a network looks at, for each particle of ``batch``."""

    batch: Batch
    """The jets as the network reads them: its order, its slots."""
    what: str = ""
    """What the weights are."""
    weight: Tensor | None = None
    """(B, N), weight of each particle in what the network reads out."""
    pooled: Tensor | None = None
    """(B, N), share of the channels whose maximum over the particles is at this one."""
    partitions: int | None = None
    """Into how many runs the particles are cut."""
    partition: Tensor | None = None
    """(B, N) the run of each particle."""


class Network(nn.Module):
    """An architecture: ``encode`` is the paper's network, ``head`` its last layers; a task may bring other heads.

    Args:
        jet_width: K of :class:`Encoded`.
        particle_width: D of :class:`Encoded`; None: the network keeps no particles, and serves tasks on jets only.
    """

    ordered: bool = False
    """Whether the answer depends on the order of the particles; an instance may say otherwise than its class."""
    reads_padding: bool = False
    """Whether padded slots, or their number, are part of what is read, so that they must not be cut off."""
    jets_apart: bool = False
    """Whether in training, too, no jet knows of others: there are no statistics of a batch, and nothing is drawn."""
    single: bool = False
    """Whether its weights stay in single precision under autocast, as what is computed with them does."""
    published_names: ClassVar[dict[str, str]] = {}
    """Patterns of parameter names in the authors' checkpoints, and ours (:mod:`jetloom.models.published`)."""
    published_extra: ClassVar[tuple[str, ...]] = ()
    """Patterns of entries of the authors' files that are no weights."""
    published_without: ClassVar[tuple[str, ...]] = ()
    """Names of ours that the authors' files do not have; they stay as they are drawn."""
    head: nn.Module
    """A layer, or a sequence of them."""

    def __init__(self, jet_width: int, particle_width: int | None) -> None:
        super().__init__()
        self.jet_width, self.particle_width = jet_width, particle_width

    @property
    def last(self) -> nn.Module:
        """The last layer of the head: the one that recipes of fine-tuning start afresh, and let learn faster."""
        return self.head[-1] if isinstance(self.head, nn.Sequential) else self.head

    def encode(self, batch: Batch) -> Encoded:
        """What the paper's network knows of the jets and of their particles before its last layers."""
        raise NotImplementedError

    def answer(self, encoded: Encoded) -> Tensor:
        """What the head says of encoded jets; here it reads ``jet``."""
        answer: Tensor = self.head(encoded.jet)
        return answer

    def forward(self, batch: Batch) -> Tensor:
        """Batch to what the head says, for classes the logits (B, C)."""
        return self.answer(self.encode(batch))

    def __call__(self, batch: Batch) -> Tensor:
        """:meth:`forward` as :meth:`run` does it."""
        answer: Tensor = self.run(super().__call__, batch)
        return answer

    def run(self, function: Callable[[Batch], Result], batch: Batch) -> Result:
        """A function of a batch, such as ``encode``, computed as fast as this machine can.

        Args:
            function: of the network; returns tensors whose first axis are the jets, :class:`Encoded`, or dictionaries
                of such.
            batch: as it comes.
        """
        computed: Callable[[Batch], Result] = partial(parts.run, self, function)
        return masters.run(self, computed, batch) if masters.serves(batch.mask) else computed(batch)

    def looks(self, batch: Batch) -> Looks | None:
        """What the network looks at; None: it cannot say."""
        return None
