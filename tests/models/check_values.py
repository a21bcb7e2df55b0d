"""Weights by a rule, so that outputs of other implementations can be written down (sine of a running number)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from jetloom.batch import Batch


def fill(tensors: Iterable[tuple[Tensor | tuple[int, ...], bool]]) -> None:
    """Tensor n gets 0.3 sin(1 + n + 1.7 k) at its flat place k; a gain gets 1 + 0.1 sin(1 + n + 1.7 k).

    Args:
        tensors: in the order of the other implementation, each with whether it is a gain; a shape stands for one that
            ours does not have.
    """
    with torch.no_grad():
        for number, (tensor, gain) in enumerate(tensors):
            if isinstance(tensor, Tensor):
                place = torch.arange(tensor.numel(), dtype=torch.float64)
                u = torch.sin(1 + number + 1.7 * place).view(tensor.shape)
                tensor.copy_(1 + 0.1 * u if gain else 0.3 * u)


def jet(particles: int) -> Tensor:
    """(N, 4) px, py, pz, E in GeV."""
    i = torch.arange(particles, dtype=torch.float64)
    pt, eta, phi, mass = 20 - 3 * i, 0.3 * torch.sin(1 + 2 * i), 0.4 * torch.cos(2 + 3 * i), 0.1 + 0.05 * i
    px, py, pz = pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()
    return torch.stack([px, py, pz, (px**2 + py**2 + pz**2 + mass**2).sqrt()], -1)


def scalars(particles: int, channels: int) -> Tensor:
    """(N, C)"""
    i, c = torch.arange(particles, dtype=torch.float64), torch.arange(channels, dtype=torch.float64)
    return torch.sin(1 + i[:, None] + 0.6 * c)


def batch(particles: int, channels: int) -> Batch:
    """One jet in double precision."""
    mask = torch.ones(1, particles, dtype=torch.bool)
    coordinates = torch.zeros(1, particles, 2, dtype=torch.float64)
    return Batch(scalars(particles, channels)[None], jet(particles)[None], coordinates, mask)
