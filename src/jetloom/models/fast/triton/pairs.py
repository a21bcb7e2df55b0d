"""The bias of the pairs of each jet, each unordered pair once, as the attention kernel reads it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jetloom.kinematics import listed_pair_features
from jetloom.models.fast.pairs import listed
from jetloom.models.fast.triton.attention import Triangle, of_jets

if TYPE_CHECKING:
    from jetloom.models.layers.packing import Packing


def triangle(embedding: Callable[[Tensor, Tensor | None], Tensor], vectors: Tensor, packing: "Packing") -> Triangle:
    """Features of pairs through their embedding.

    Where the packing leaves padding out, so do the pairs; where it carries it along, all slots have pairs, of which the
    real ones are marked.

    Args:
        embedding: features (P, 4) and which are real (P,) to biases (P, H).
        vectors: (B, N, 4).
        packing: which of them are real.
    """
    mask = packing.mask
    vectors = vectors.masked_fill(~mask[..., None], 0.0)
    if packing.real is None:
        number = packing.length
        pairs = None if number is None else int((number * (number + 1) // 2).sum())
        real = (mask[:, :, None] & mask[:, None, :]).tril()
        _, first, second = listed(real, pairs)
        return of_jets(embedding(listed_pair_features(vectors.flatten(0, 1), first, second), None), packing)
    jets, slots = mask.shape
    first, second = torch.tril_indices(slots, slots, device=mask.device)
    real = mask[:, first] & mask[:, second]
    begin = torch.arange(jets, device=mask.device)[:, None] * slots
    features = listed_pair_features(vectors.flatten(0, 1), (begin + first).flatten(), (begin + second).flatten())
    return of_jets(embedding(features, real.flatten()), packing)
