"""Minkowski products of four-vectors px, py, pz, E."""

from torch import Tensor

METRIC = (-1.0, -1.0, -1.0, 1.0)
"""Signs of px, py, pz, E in the product."""


def product(first: Tensor, second: Tensor) -> Tensor:
    """E E' - p p' of (..., 4) four-vectors."""
    return (first * second * first.new_tensor(METRIC)).sum(-1)


def channel_products(first: Tensor, second: Tensor) -> Tensor:
    """The product of each channel, (..., 4, C) to (..., C)."""
    return (first * second * first.new_tensor(METRIC)[:, None]).sum(-2)
