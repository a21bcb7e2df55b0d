"""What every model eats."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from jetloom.errors import JetloomError


class Batch(NamedTuple):
    """A batch of jets (or point clouds), padded to a common number of particles N.

    Being a named tuple it is a pytree: torch.compile, torch.export and DDP take it as it is.
    """

    features: Tensor
    """(B, N, F) float32, standardised inputs; arbitrary where ``mask`` is False."""
    vectors: Tensor | None
    """(B, N, 4) float32, px, py, pz, E in GeV; None for point clouds."""
    coordinates: Tensor
    """(B, N, 2) float32, deta and dphi relative to the jet axis; (B, N, 3) x, y, z for point clouds."""
    mask: Tensor
    """(B, N) bool, True for a real particle."""
    label: Tensor | None = None
    """(B,) int64 class index; None when unknown."""
    observers: Tensor | None = None
    """(B, M) float32, quantities of the jet, in the order of the manifest's ``observers``; None when unknown."""

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

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with each tensor that it has replaced by what a function makes of it."""
        return Batch._make(None if value is None else function(value) for value in self)

    def map_slots(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same for tensors with a slot for each particle, (B, N, ...); what is known of the jet stays."""
        slots = [None if value is None else function(value) for value in self[:4]]
        return Batch._make([*slots, self.label, self.observers])
