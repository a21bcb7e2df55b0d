"""EdgeConv with its first map per particle instead of per edge, and normalisations built into the maps."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import folding, on

if TYPE_CHECKING:
    from jetloom.models.layers.norm import RealBatchNorm


def serves() -> bool:
    """Everywhere."""
    return on()


def edges(
    x: Tensor, neighbours: Tensor, real: Tensor | None, weights: Sequence[Tensor], norms: "Iterable[RealBatchNorm]"
) -> Tensor:
    """ReLU(norm(W e)) in turn of the edges e = [x_i, x_j - x_i].

    W [x_i, x_j - x_i] = (W_1 - W_2) x_i + W_2 x_j: both per particle.

    Args:
        x: (n, C).
        neighbours: (n, k) rows j of each i; n: x_j = 0.
        real: (n k,) bool, edges that count in the statistics; None: all.
        weights: W of each map.
        norms: batch normalisation of each.

    Returns:
        (n k, C')
    """
    found = x
    for index, (weight, norm) in enumerate(zip(weights, norms, strict=True)):
        folded = folding.serves(norm)
        weight, shift = folding.batch_norm(norm, weight, None) if folded else (weight, None)
        if index == 0:
            own, other = weight.chunk(2, 1)
            table = functional.linear(x, other)
            table = torch.cat([table, table.new_zeros(1, table.shape[1])])
            found = (functional.linear(x, own - other, shift)[:, None] + table[neighbours]).flatten(0, 1)
        else:
            found = functional.linear(found, weight, shift)
        found = functional.relu(found if folded else norm(found, real))
    return found
