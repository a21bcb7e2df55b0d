"""Items that are no particles, in front of the particles of a jet; the first of them reads the jet out."""

import torch
from torch import Tensor
from torch.nn import functional


def with_items_in_front(features: Tensor, number: int) -> Tensor:
    """(B, N, F) to (B, number + N, F + 1): items of zeros in front, of which the last feature marks the first."""
    items = functional.pad(features, (0, 0, number, 0))
    mark = functional.pad(torch.ones_like(items[:, :1, :1]), (0, 0, 0, items.shape[1] - 1))
    return torch.cat([items, mark], -1)
