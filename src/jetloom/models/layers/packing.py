"""The real particles of a batch in one row, so that no layer works on padding."""

from torch import Tensor
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import packing as kernel
from jetloom.models.fast import values_known


class Packing:
    """Packed tensors are (n, D) with n the number of real particles of all jets.

    The formula keeps padded slots and marks them: n = B N; the kernel leaves them out.

    Args:
        mask: (B, N) bool.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.rows: Tensor | None = None
        """(n,) rows of the flattened (B N) batch that are real; None: all rows are kept."""
        self.real: Tensor | None = None
        """(n,) bool, which of the packed rows are real; None: all."""
        if kernel.serves():
            self.rows = kernel.real_rows(mask)
        else:
            self.real = mask.flatten()

    def pack(self, x: Tensor) -> Tensor:
        """(B, N, D) to (n, D); what stands in padded slots is lost, or zero where they are kept."""
        if self.rows is not None:
            return x.flatten(0, 1)[self.rows]
        if self.real is not None:
            x = x.masked_fill(~self.mask[..., None], 0.0)
        return x.flatten(0, 1)

    def unpack(self, x: Tensor) -> Tensor:
        """(n, D) to (B, N, D); zeros in padded slots."""
        if self.rows is not None:
            flat = x.new_zeros(self.mask.numel(), x.shape[-1])
            flat[self.rows] = x
            x = flat
        x = x.view(*self.mask.shape, -1)
        return x if self.real is None else x.masked_fill(~self.mask[..., None], 0.0)


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
        if batch.mask[:, length:].any():
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
