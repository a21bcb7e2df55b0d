"""Attention of packed particles with a bias from their pairs (ParT, arXiv:2202.03772, eq. 2)."""

from collections.abc import Callable

from torch import Tensor

from jetloom.models.fast.triton import attention as kernel
from jetloom.models.fast.triton.pairs import triangle
from jetloom.models.layers.attention import attend
from jetloom.models.layers.packing import Packing
from jetloom.models.layers.pairs import pair_bias

Bias = Tensor | kernel.Triangle
"""(B, H, N, N) with padded keys closed, or each unordered pair once."""


def bias_of_pairs(embedding: Callable[[Tensor, Tensor | None], Tensor], vectors: Tensor, packing: Packing) -> Bias:
    """U of eq. 2.

    Args:
        embedding: of the pair features, eq. 3.
        vectors: (B, N, 4).
        packing: which of them are real.
    """
    # Of rows of fixed number it would have to know where a jet begins.
    if packing.room is None and kernel.serves(vectors):
        return triangle(embedding, vectors, packing)
    return pair_bias(embedding, vectors, packing.mask, packing.length, packing.room)


def packed_attend(rows: Tensor, packing: Packing, heads: int, bias: Bias, dropout: float) -> Tensor:
    """softmax(Q K^T / sqrt(d) + U) V within each jet.

    Args:
        rows: (n, 3 D), queries, keys and values side by side.
        packing: of the rows.
        heads: H.
        bias: U.
        dropout: of the attention weights.

    Returns:
        (n, D)
    """
    if isinstance(bias, kernel.Triangle):
        return kernel.attend(rows, bias, heads, dropout)
    query, key, value = packing.unpack(rows).chunk(3, -1)
    return packing.pack(attend(query, key, value, heads, bias, dropout))
