"""Messages between particles in near cells of a grid: one look-up for each pair, some pairs at a time."""

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import eager

PAIRS = 1 << 13
"""At a time where nothing is learnt."""
FARTHEST = 1 << 20
"""Cells from the first one."""


def serves(h: Tensor) -> bool:
    """On a CPU; a graph gets fewer and larger steps."""
    return eager() and h.device.type == "cpu"


def received(kernel: Tensor, cells: Tensor, h: Tensor, before: int) -> Tensor:
    """sum_j K[cell_j - cell_i + before] h_j, without a message where that lies outside of K.

    Args:
        kernel: (S, S, d), K.
        cells: (B, N, 2), whole numbers of any type.
        h: (B, N, d), zero of what sends nothing.
        before: how far K reaches to cells before that of i.

    Returns:
        (B, N, d)
    """
    size, number = len(kernel), h.shape[1]
    # A border of zeros stands for everything outside.
    table = functional.pad(kernel, (0, 0, 1, 1, 1, 1)).flatten(0, 1)
    cells = cells.clamp(-FARTHEST, FARTHEST).int()
    jets = len(h) if torch.is_grad_enabled() else max(1, PAIRS // number**2)
    parts = []
    for cell, sent in zip(cells.split(jets), h.split(jets), strict=True):
        row, column = ((x[:, None] - x[:, :, None]).add_(before).clamp_(-1, size).add_(1) for x in cell.unbind(-1))
        gathered = functional.embedding(row.mul_(size + 2).add_(column), table)
        product = gathered * sent[:, None] if torch.is_grad_enabled() else gathered.mul_(sent[:, None])
        parts.append(product.sum(2))
    return parts[0] if len(parts) == 1 else torch.cat(parts)
