"""Items that are no particles, in front of the particles of a jet."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.layers.constants import constants

REFERENCES = ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, -1.0, 1.0), (0.0, 0.0, 0.0, 1.0))
"""px, py, pz, E of items that break the Lorentz symmetry: both beams and the laboratory."""


def with_items_in_front(features: Tensor, number: int) -> Tensor:
    """(B, N, F) to (B, number + N, F + 1): items of zeros in front, of which the last feature marks the first,
    which reads the jet out."""
    items = functional.pad(features, (0, 0, number, 0))
    mark = functional.pad(torch.ones_like(items[:, :1, :1]), (0, 0, 0, items.shape[1] - 1))
    return torch.cat([items, mark], -1)


def single_precision(vectors: Tensor) -> Tensor:
    """Four-vectors in float32, whatever autocast says, or in float64 if that is what they are."""
    return vectors if vectors.dtype == torch.float64 else vectors.float()


def with_references(
    vectors: Tensor, mask: Tensor, references: Sequence[tuple[float, float, float, float]]
) -> tuple[Tensor, Tensor]:
    """Four-vectors (B, N, 4) and mask (B, N) with the same four-vectors in front of each jet, zeros where padded."""
    vectors = vectors.masked_fill(~mask[..., None], 0.0)
    if not references:
        return vectors, mask
    front = torch.stack([constants(one, vectors) for one in references]).expand(vectors.shape[0], -1, -1)
    return torch.cat([front, vectors], 1), functional.pad(mask, (len(references), 0), value=True)
