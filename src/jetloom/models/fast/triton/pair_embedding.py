"""A pair embedding where it only predicts: all layers in one kernel, hidden values in the registers of its programs.

A batch of 512 jets has half a million pairs. Layer by layer the 64 hidden values of each go to memory and come back
three times; here four features are read and a bias for each head is written. The normalisations are built into the
maps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jetloom.models.fast import folding
from jetloom.models.fast.triton import ROWS, WIDEST, exactness, factors, fitting, shared_rows, tile
from jetloom.models.fast.triton import serves as wanted

if TYPE_CHECKING:
    from jetloom.models.layers.norm import RealBatchNorm


def serves(x: Tensor, norms: "Sequence[RealBatchNorm]") -> bool:
    """Where nothing is learnt, for layers that are not too wide."""
    predicts = not torch.is_grad_enabled() and all(map(folding.serves, norms))
    return predicts and max(norm.num_features for norm in norms) <= WIDEST and wanted(x)


def embedded(x: Tensor, first: tuple[Tensor, Tensor], maps: Sequence[tuple[Tensor, Tensor]], activated: bool) -> Tensor:
    """Pair features (n, K) to the biases (n, H), of which those of each head lie side by side in memory.

    Args:
        x: the features.
        first: scale (K,) and shift (K,) of them.
        maps: weight and bias of the maps, with a GELU behind each.
        activated: False: none behind the last.
    """
    from jetloom.models.fast.triton import pair_embedding_kernels as kernels

    *hidden, (weight, bias) = maps
    width = tile(max([x.shape[1], *(len(matrix) for matrix, _ in hidden)]))
    weights = x.new_zeros(len(hidden), width, width, dtype=factors(x))
    shifts = x.new_zeros(len(hidden), width, dtype=torch.float32)
    last = x.new_zeros(len(weight), width, dtype=factors(x))
    for number, (matrix, shift) in enumerate(hidden):
        weights[number, : matrix.shape[0], : matrix.shape[1]] = matrix
        shifts[number, : len(shift)] = shift
    last[:, : weight.shape[1]] = weight
    out = x.new_empty(len(weight), len(x), dtype=factors(x))
    grid, shape = shared_rows(x, fitting(ROWS, factors(x)))
    kernels.embedded[grid](
        x.contiguous(), *first, weights, shifts, last, bias, out,
        **shape, before=x.shape[1], after=len(weight), layers=len(hidden),
        ACTIVATED=activated, WIDTH=width, AFTER=tile(len(weight)), EXACT=exactness(),
    )  # fmt: skip
    return out.t()
