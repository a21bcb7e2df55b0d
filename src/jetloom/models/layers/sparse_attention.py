"""Sparse attention patterns for sets of particles: who may look at whom.

A pattern is a boolean matrix that a dense attention obeys; it shows what the pattern does to the answer, not how much
time a sparse kernel would save.
"""

import torch
from torch import Tensor

from jetloom.models.layers.attention import CLOSED


def strided(mask: Tensor, stride: int) -> Tensor:
    """Strided pattern of the Sparse Transformer (arXiv:1904.10509, section 4.2) without its causality.

    i sees j if |i - j| <= l / 2 (the neighbourhood) or (i - j) mod l = 0 (the column). Slots are counted as they stand,
    so particles must be sorted.

    Args:
        mask: (B, N) bool.
        stride: l.

    Returns:
        (N, N) bool.
    """
    slot = torch.arange(mask.shape[1], device=mask.device)
    distance = (slot[:, None] - slot).abs()
    return (2 * distance <= stride) | (distance % stride == 0)


def nearest(coordinates: Tensor, mask: Tensor, neighbours: int) -> Tensor:
    """i sees itself and its k nearest real particles in the plane (or space) of the coordinates.

    Args:
        coordinates: (B, N, 2 or 3).
        mask: (B, N) bool.
        neighbours: k; all particles, where a jet has fewer.

    Returns:
        (B, N, N) bool.
    """
    places = coordinates.detach().float().masked_fill(~mask[..., None], 0.0)
    distance = (places[:, :, None] - places[:, None]).square().sum(-1)
    distance = distance.masked_fill(~mask[:, None, :], torch.inf)
    # The particle itself is always open: a query without any open key would have no answer.
    itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    distance = distance.masked_fill(itself, -1.0)
    # As many as the (k + 1)-th distance: equally near particles are all seen, so that their order does not matter.
    count = min(neighbours + 1, mask.shape[1])
    farthest = distance.topk(count, dim=-1, largest=False).values[..., -1:]
    return distance <= farthest


def pattern_bias(allowed: Tensor, mask: Tensor) -> Tensor:
    """Bias (B, 1, N, N) of the scores: 0 where a pattern (N, N) or (B, N, N) lets a real key be seen, else CLOSED."""
    opened = allowed & mask[:, None, :]
    return torch.zeros_like(opened, dtype=torch.float32).masked_fill(~opened, CLOSED)[:, None]
