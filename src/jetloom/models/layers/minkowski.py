"""Minkowski products of four-vectors px, py, pz, E."""

import torch
from torch import Tensor

from jetloom.models.layers.constants import constants
from jetloom.models.layers.item_pairs import ItemPairs

METRIC = (-1.0, -1.0, -1.0, 1.0)
"""Signs of px, py, pz, E in the product."""


def product(first: Tensor, second: Tensor) -> Tensor:
    """E E' - p p' of (..., 4) four-vectors."""
    return (first * second * constants(METRIC, first)).sum(-1)


def channel_products(first: Tensor, second: Tensor) -> Tensor:
    """The product of each channel, (..., 4, C) to (..., C)."""
    return (first * second * constants(METRIC, first)[:, None]).sum(-2)


def pair_products(vectors: Tensor, pairs: ItemPairs) -> Tensor:
    """p_i p_j of all pairs of items: (B, N, 4) to (e, 1)."""
    packed = pairs.items.pack(vectors)
    return product(pairs.at_row(packed), pairs.at_column(packed))[:, None]


def with_mass(momenta: Tensor, floor: float) -> Tensor:
    """Four-vectors (..., 4) of which those with a mass below the floor have this mass, at the same momentum."""
    squares = momenta[..., :3].square().sum(-1)
    light = momenta[..., 3].square() - squares < floor**2
    energy = torch.where(light, (squares + floor**2).sqrt(), momenta[..., 3])
    return torch.cat([momenta[..., :3], energy[..., None]], -1)
