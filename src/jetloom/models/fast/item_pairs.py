"""Where the pairs of real items stand, and nothing of those of padding."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetloom.models.fast import packing


def serves(mask: Tensor, length: NDArray[np.int64] | None) -> bool:
    """Where the number of real items may decide over shapes."""
    return packing.serves(mask, length is not None)


class Index:
    """Places of the pairs (i, j), jet by jet and row by row, among n items and e pairs of all jets.

    Args:
        mask: (B, N) bool, the real items.
        length: (B,) how many of each jet; None: they are counted.
    """

    def __init__(self, mask: Tensor, length: NDArray[np.int64] | None) -> None:
        device, width = mask.device, mask.shape[1]
        number = mask.sum(1)
        known = number.numpy() if length is None else length
        self.items = int(known.sum())
        self.jet = torch.arange(len(number), device=device).repeat_interleave(number, output_size=self.items)
        """(n,) of each item."""
        number_at = number.index_select(0, self.jet)
        pairs = int((known**2).sum())
        item = torch.arange(self.items, device=device)
        first = (number.cumsum(0) - number).index_select(0, self.jet)
        """(n,) first item of its jet."""
        start = number_at.cumsum(0) - number_at
        """(n,) first pair of its row."""
        self.row = item.repeat_interleave(number_at, output_size=pairs)
        """(e,) i"""
        in_jet = item - first
        to_column = first - start
        self.column = torch.arange(pairs, device=device) + to_column.index_select(0, self.row)
        """(e,) j"""
        self.transposed = start.index_select(0, self.column) + in_jet.index_select(0, self.row)
        """(e,) where (j, i) stands."""
        self.diagonal = start + in_jet
        """(n,) where (i, i) stands."""
        slot = packing.places(mask.flatten(), self.items)
        self.slot = slot.index_select(0, self.row) * width + (slot % width).index_select(0, self.column)
        """(e,) where the pair stands among all (B N N) slots."""
