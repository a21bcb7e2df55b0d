"""The real particles of a batch in one row, so that no layer works on padding."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jetloom.batch import Batch, Room
from jetloom.errors import JetloomError
from jetloom.models.fast import packing as kernel
from jetloom.models.fast import values_known


class Packing:
    """Packed tensors are (n, D) with n the number of real particles of all jets.

    The formula keeps padded slots and marks them: n = B N; the kernel leaves them out.

    Args:
        mask: (B, N) bool.
        length: (B,) how many are true, where the host knows it.
        room: n is what is said there, whatever is true: the kernel leaves out what it can, and marks the rest.
    """

    def __init__(self, mask: Tensor, length: NDArray[np.int64] | None = None, room: Room | None = None) -> None:
        self.mask, self.length, self.room = mask, length, room
        self.rows: Tensor | None = None
        """(n,) rows of the flattened (B N) batch that are real; None: all rows are kept."""
        self.slots: Tensor | None = None
        """(B N,) packed row of each slot, of padding any; None: not asked for yet."""
        self.real: Tensor | None = None
        """(n,) bool, which of the packed rows are real; None: all."""
        if room is not None:
            self.rows, self.real = kernel.places_with_room(mask.flatten(), room.particles)
        elif kernel.serves(mask, length is not None):
            self.rows = kernel.real_rows(mask, None if length is None else int(length.sum()))
        else:
            self.real = mask.flatten()

    def pack(self, x: Tensor) -> Tensor:
        """(B, N, D) to (n, D); what stands in padded slots is lost, or zero where they are kept."""
        rows = x.flatten(0, 1) if self.rows is None else x.flatten(0, 1).index_select(0, self.rows)
        return rows if self.real is None else rows.masked_fill(~self.real[:, None], 0.0)

    def sums(self, x: Tensor) -> Tensor:
        """(n, D) to (B, D): the sum over the particles of each jet."""
        if self.real is not None:
            return self.unpack(x).sum(1)
        rows = torch.arange(self.mask.numel(), device=x.device) if self.rows is None else self.rows
        jet = torch.div(rows, self.mask.shape[1], rounding_mode="floor")
        return x.new_zeros(len(self.mask), x.shape[-1]).index_add_(0, jet, x)

    def unpack(self, x: Tensor) -> Tensor:
        """(n, D) to (B, N, D); zeros in padded slots."""
        if self.rows is not None:
            x = x.new_zeros(self.mask.numel(), x.shape[-1]).index_copy_(0, self.rows, x)
        x = x.view(*self.mask.shape, -1)
        return x if self.real is None else x.masked_fill(~self.mask[..., None], 0.0)

    def spread(self, x: Tensor) -> Tensor:
        """(n, D) to (B, N, D); padded slots hold zeros or anything finite, for an attention that closes them."""
        if self.rows is None or not len(x):
            return self.unpack(x)
        if self.slots is None:
            self.slots = kernel.slots(self.mask)
        return kernel.spread(x, self.slots, self.rows).view(*self.mask.shape, -1)


def unpacked(mask: Tensor) -> Packing:
    """All slots (B, N) as particles."""
    # In a recorded graph the number of jets is no number.
    return Packing(torch.ones_like(mask), np.full(mask.shape[0], mask.shape[1]) if values_known() else None)


def lengthened(x: Tensor, rows: int) -> Tensor:
    """(B, N) or (B, N, D) with so many zero (or False) rows behind; negative: that many cut off."""
    return functional.pad(x, (0, rows) if x.dim() == 2 else (0, 0, 0, rows))


def of_length(batch: Batch, length: int, who: str, *, exactly: bool) -> Batch:
    """The batch with at most ``length`` slots or ``exactly`` as many, the new ones zero.

    Raises:
        JetloomError: a jet is longer.
    """
    number = batch.mask.shape[1]
    if values_known() and number > length:
        longest = None if batch.length is None else int(batch.length.max(initial=0))
        if batch.mask[:, length:].any() if longest is None else longest > length:
            reached = int(batch.mask.any(0).nonzero().max()) + 1
            raise JetloomError(
                f"{who} was built for max_particles = {length}, but a jet reaches slot {reached}: prepare the data "
                "with fewer particles or build the model with a larger max_particles"
            )
        return batch.map_slots(lambda x: x[:, :length])
    return batch.map_slots(lambda x: lengthened(x, length - number)) if exactly else batch


def zero_padding(batch: Batch) -> Batch:
    """The batch with zeros in padded slots, whatever stood there."""
    padded = ~batch.mask[..., None]
    vectors = None if batch.vectors is None else batch.vectors.masked_fill(padded, 0.0)
    return batch._replace(
        features=batch.features.masked_fill(padded, 0.0),
        vectors=vectors,
        coordinates=batch.coordinates.masked_fill(padded, 0.0),
    )


def vectors_of(batch: Batch) -> Tensor:
    """The four-vectors of a batch.

    Raises:
        JetloomError: there are none (point clouds).
    """
    if batch.vectors is None:
        raise JetloomError("pair features need four-vectors, and this data set has none; set pair_bias: false")
    return batch.vectors
