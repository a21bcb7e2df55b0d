"""Lorentz transformations of px, py, pz, E."""

import math

import torch


def boost(direction: torch.Tensor, rapidity: float) -> torch.Tensor:
    """(4, 4) Lorentz boost of px, py, pz, E along a unit vector."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] += (math.cosh(rapidity) - 1) * torch.outer(direction, direction)
    matrix[:3, 3] = matrix[3, :3] = math.sinh(rapidity) * direction
    matrix[3, 3] = math.cosh(rapidity)
    return matrix


def rotation(generator: torch.Generator) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    rows, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    matrix[:3, :3] = rows * torch.linalg.det(rows).sign()
    return matrix


def about_z(angle: float) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[1, 0], matrix[0, 1] = math.sin(angle), -math.sin(angle)
    return matrix
