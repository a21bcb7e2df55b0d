"""All ordered pairs (i, j) of the items of a jet, i = j among them, in one row: arrays on the edges of a full graph."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetloom.models.fast import item_pairs as kernel
from jetloom.models.layers.packing import Packing


class ItemPairs:
    """x_ij of all jets is (e, D) and d_i is (n, D), packed as :class:`Packing` does.

    The formula keeps padded slots, n = B N and e = B N N, and they must hold zeros; the kernel leaves them out.

    Args:
        mask: (B, N) bool, the real items.
        length: (B,) how many of each jet, where the host knows it.
    """

    def __init__(self, mask: Tensor, length: NDArray[np.int64] | None = None) -> None:
        self.items = Packing(mask, length)
        self.number = mask.sum(1, keepdim=True).clamp(min=1)
        """(B, 1), n of each jet, 1 where it has no item."""
        self.index: kernel.Index | None = None
        self.real: Tensor | None = None
        """(e,) bool, which of the pairs are real; None: all are."""
        if kernel.serves(mask, length):
            self.index = kernel.Index(mask, length)
        else:
            self.real = (mask[:, :, None] & mask[:, None]).flatten()

    def at_row(self, d: Tensor) -> Tensor:
        """d_i at (i, j)."""
        if self.index is not None:
            return d.index_select(0, self.index.row)
        batch, number = self.items.mask.shape
        return d.view(batch, number, 1, -1).expand(-1, -1, number, -1).flatten(0, 2)

    def at_column(self, d: Tensor) -> Tensor:
        """d_j at (i, j)."""
        if self.index is not None:
            return d.index_select(0, self.index.column)
        batch, number = self.items.mask.shape
        return d.view(batch, 1, number, -1).expand(-1, number, -1, -1).flatten(0, 2)

    def at_items(self, jet: Tensor) -> Tensor:
        """(B, D) to (n, D): what is known of the jet at each of its items."""
        if self.index is not None:
            return jet.index_select(0, self.index.jet)
        return jet[:, None].expand(-1, self.items.mask.shape[1], -1).flatten(0, 1)

    def transposed(self, x: Tensor) -> Tensor:
        """x_ji."""
        if self.index is not None:
            return x.index_select(0, self.index.transposed)
        return self._slots(x).transpose(1, 2).flatten(0, 2)

    def diagonal(self, x: Tensor) -> Tensor:
        """x_ii, (n, D)."""
        if self.index is not None:
            return x.index_select(0, self.index.diagonal)
        return self.row_sums(x * self._identity().to(x.dtype))

    def plus_diagonal(self, x: Tensor, d: Tensor) -> Tensor:
        """x_ij, to which d_i is added where i = j."""
        if self.index is not None:
            return x.index_add(0, self.index.diagonal, d)
        return x + self.at_row(d) * self._identity().to(x.dtype)

    def different(self) -> Tensor:
        """(e, 1) bool, i is not j."""
        if self.index is not None:
            return (self.index.row != self.index.column)[:, None]
        return ~self._identity()

    def row_sums(self, x: Tensor) -> Tensor:
        """sum_j x_ij, (n, D)."""
        if self.index is not None:
            return x.new_zeros(self.index.items, x.shape[1]).index_add(0, self.index.row, x)
        return self._slots(x).sum(2).flatten(0, 1)

    def column_sums(self, x: Tensor) -> Tensor:
        """sum_i x_ij, (n, D)."""
        if self.index is not None:
            return x.new_zeros(self.index.items, x.shape[1]).index_add(0, self.index.column, x)
        return self._slots(x).sum(1).flatten(0, 1)

    def jet_sums(self, d: Tensor) -> Tensor:
        """sum_i d_i, (B, D)."""
        if self.index is not None:
            return d.new_zeros(len(self.items.mask), d.shape[1]).index_add(0, self.index.jet, d)
        return d.view(*self.items.mask.shape, -1).sum(1)

    def counted(self, x: Tensor) -> Tensor:
        """(e,) bool, which of the pairs x (e, D) are real, also where all are.

        For batch normalisation, which then sums in a way of its own: torch's, on a CPU and over many pairs, leaves four
        digits of the gradients.
        """
        return torch.ones_like(x[:, 0], dtype=torch.bool) if self.real is None else self.real

    def without_padding(self, x: Tensor) -> Tensor:
        """The same with zeros in padded slots."""
        return x if self.real is None else x.masked_fill(~self.real[:, None], 0.0)

    def in_slots(self, x: Tensor) -> Tensor:
        """(e, D) to (B, N, N, D), zeros in padded slots."""
        if self.index is None:
            return self._slots(self.without_padding(x))
        batch, number = self.items.mask.shape
        flat = x.new_zeros(batch * number * number, x.shape[1])
        return flat.index_copy(0, self.index.slot, x).view(batch, number, number, -1)

    def _slots(self, x: Tensor) -> Tensor:
        batch, number = self.items.mask.shape
        return x.view(batch, number, number, -1)

    def _identity(self) -> Tensor:
        """(B N N, 1) bool, i is j."""
        batch, number = self.items.mask.shape
        place = torch.arange(number, device=self.items.mask.device)
        return (place[:, None] == place).expand(batch, -1, -1).reshape(-1, 1)
