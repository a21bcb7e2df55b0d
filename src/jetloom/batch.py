"""What every model eats."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetloom.errors import JetloomError


class Room(NamedTuple):
    """How many rows all jets of a batch have together, at most."""

    particles: int
    """Real ones."""
    pairs: int
    """Unordered pairs of real particles of one jet, a particle with itself among them."""


class Batch(NamedTuple):
    """A batch of jets (or point clouds), padded to a common number of particles N.

    Being a named tuple it is a pytree: torch.compile, torch.export and DDP take it as it is.
    """

    features: Tensor
    """(B, N, F) float32, standardised inputs; (B, N, 1) int16, codes; arbitrary where ``mask`` is False."""
    vectors: Tensor | None
    """(B, N, 4) float32, px, py, pz, E in GeV; None for point clouds and codes."""
    coordinates: Tensor
    """(B, N, 2) float32, deta and dphi relative to the jet axis; (B, N, 3) x, y, z for point clouds; (B, N, 0) for
    codes."""
    mask: Tensor
    """(B, N) bool, True for a real particle."""
    label: Tensor | None = None
    """(B,) int64 class index; None when unknown."""
    observers: Tensor | None = None
    """(B, M) float32, quantities of the jet, in the order of the manifest's ``observers``; None when unknown."""
    length: NDArray[np.int64] | None = None
    """(B,) number of real particles of each jet, which the host knows without asking a GPU; None: it would have to."""
    room: Room | None = None
    """What the batch has at most, in place of ``length`` where nothing may have a size that differs between batches."""

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """All that is in it, in this order."""
        return self[:6]

    @property
    def labels(self) -> Tensor:
        """``label``.

        Raises:
            JetloomError: the data have none.
        """
        if self.label is None:
            raise JetloomError("this needs the class of each jet, and the data have no labels")
        return self.label

    @property
    def observed(self) -> Tensor:
        """``observers``.

        Raises:
            JetloomError: the data have none.
        """
        if self.observers is None:
            raise JetloomError("this needs quantities of each jet, and the data have no observers")
        return self.observers

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, to which page-locked tensors are copied while the host goes on."""
        moved = self.map(lambda value: value.to(device, non_blocking=device.type == "cuda"))
        length = self.length
        if length is None and device.type != "cpu" and self.mask.device.type == "cpu":
            length = self.mask.sum(1).numpy()
        return moved._replace(length=length)

    def longer(self, number: int) -> NDArray[np.int64] | None:
        """``length`` with so many items more in each jet."""
        return None if self.length is None else self.length + number

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with each tensor that it has replaced by what a function makes of it; they may be other jets."""
        return Batch._make([*(None if value is None else function(value) for value in self.tensors), None, None])

    def map_slots(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same for tensors with a slot for each particle, (B, N, ...); what is known of the jet stays."""
        slots = [None if value is None else function(value) for value in self[:4]]
        return Batch._make([*slots, self.label, self.observers, self.length, self.room])
