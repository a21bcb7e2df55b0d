"""Each unordered pair of real particles computed once."""

from collections.abc import Callable

import torch
from torch import Tensor

from jetloom.kinematics import listed_pair_features
from jetloom.models.fast import eager


def serves() -> bool:
    """Where the number of real pairs may decide over shapes."""
    return eager()


def pair_bias(
    embedding: Callable[[Tensor, Tensor | None], Tensor], vectors: Tensor, real: Tensor, closed: Tensor
) -> Tensor:
    """Attention bias (B, H, N, N).

    Args:
        embedding: features (n, 4) of pairs to their biases (n, H).
        vectors: (B, N, 4), zero where padded.
        real: (B, N, N) bool, the pairs (i, j) of real particles with j <= i.
        closed: (B, 1, 1, N), added for each key.
    """
    batch, number = real.shape[:2]
    cells = real.flatten().nonzero()[:, 0]
    first = torch.div(cells, number, rounding_mode="floor")
    jet_start = torch.div(first, number, rounding_mode="floor") * number
    second = jet_start + cells % number
    bias = embedding(listed_pair_features(vectors.flatten(0, 1), first, second), None).t()
    mirrored = second * number + first - jet_start
    heads = len(bias)
    closed = closed.expand(batch, 1, number, number)
    everywhere = closed.to(bias.dtype).flatten().expand(heads, -1).clone()
    everywhere.index_copy_(1, cells, bias).index_copy_(1, mirrored, bias)
    return everywhere.view(heads, batch, number, number).transpose(0, 1)
