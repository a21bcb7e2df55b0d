"""Each unordered pair of real particles computed once."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.kinematics import listed_pair_features
from jetloom.models.fast.packing import places, serves

__all__ = ["pair_bias", "serves"]

SPARE = 8
"""Numbers behind a tensor that fused attention still takes: its rows must begin at multiples of this."""


def listed(real: Tensor, pairs: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of real particles, jet by jet, in each (0, 0), (1, 0), (1, 1), (2, 0) ...

    Args:
        real: (B, N, N) bool, the pairs (i, j) of real particles with j <= i.
        pairs: number of real ones, where it is known.

    Returns:
        place (n,) of each in the flattened (B N N), and of its first and second particle in the flattened (B N).
    """
    cells = places(real.flatten(), pairs)
    return cells, *_ends(cells, real.shape[1])


def _ends(cells: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """First and second particle in the flattened (B N) of places in (B N N)."""
    first = torch.div(cells, number, rounding_mode="floor")
    return first, torch.div(first, number, rounding_mode="floor") * number + cells % number


def pair_bias(
    embedding: Callable[[Tensor, Tensor | None], Tensor],
    vectors: Tensor,
    closed: Tensor,
    cells: Tensor,
    there: Tensor | None,
) -> Tensor:
    """Attention bias (B, H, N, N).

    Args:
        embedding: features (n, 4) of pairs, and which of them count (n,), to their biases (n, H).
        vectors: (B, N, 4), zero where padded.
        closed: (B, 1, 1, N), added for each key.
        cells: (n,) places in (B, N, N) of the pairs (i, j) of real particles with j <= i.
        there: (n,) bool, which of the cells are such; None: all.
    """
    batch, number = vectors.shape[:2]
    first, second = _ends(cells, number)
    bias = embedding(listed_pair_features(vectors.flatten(0, 1), first, second), there).t()
    mirrored = second * number + first % number
    closed = closed.expand(batch, 1, number, number).to(bias.dtype).flatten()
    size = len(closed)
    if there is not None:
        # What is no pair goes behind the end.
        closed = functional.pad(closed, (0, SPARE))
        cells, mirrored = (torch.where(there, place, size) for place in (cells, mirrored))
    heads = len(bias)
    everywhere = closed.expand(heads, -1).clone()
    everywhere.index_copy_(1, cells, bias).index_copy_(1, mirrored, bias)
    return everywhere[:, :size].view(heads, batch, number, number).transpose(0, 1)
