"""Nearest particles of the same jet, as published networks find them: by squared distances in float32."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import full_precision, larger
from jetloom.models.fast import neighbours as kernel
from jetloom.models.layers.packing import Packing

Rule = Literal["published", "weaver0.4", "exact"]


def squared_distances(points: Tensor, mask: Tensor, *, own_first: bool = True, floor: bool = False) -> Tensor:
    """|x|^2 - 2 x y + |y|^2 of all pairs, (B, N, D) to (B, N, N), inf to padding; in float32 even under autocast.

    Particles that are closer than the rounding get anything about zero, so the details of the formula decide which of
    them comes first.

    Args:
        points: euclidean.
        mask: (B, N).
        own_first: |x|^2 is added before |y|^2.
        floor: no distance is below zero.
    """
    points = points.float()
    with full_precision(points):
        square = points.square().sum(-1)
        distance = points @ points.transpose(1, 2)
    squares = square[:, :, None], square[:, None]
    first, second = squares if own_first else squares[::-1]
    distance = distance.mul_(-2).add_(first).add_(second)
    return (distance.clamp_(min=0) if floor else distance).masked_fill_(~mask[:, None], torch.inf)


def smallest(distance: Tensor, number: int, length: int | None) -> tuple[Tensor, Tensor]:
    """Values and places (..., k) of the k smallest of each row (..., N), in rising order; inf for a missing one.

    Args:
        distance: inf where there is no particle; what is missing gets any place.
        number: k.
        length: None: of equal distances those in front are taken; else those that torch's top-k takes from a row of
            this length, filled up with inf: which these are depends on it.
    """
    width = distance.shape[-1]
    filled = larger(length or 0, larger(width, number))
    if kernel.serves(distance) and (length is None or filled > width):
        return kernel.smallest(distance, number, filled, length is None)
    distance = functional.pad(distance, (0, filled - width), value=torch.inf)
    values, places = kernel.front_or_any(distance, number, length is None)
    return values, places.clamp(max=width - 1)


@torch.no_grad()
def nearest_neighbours(points: Tensor, packing: Packing, number: int, knn: Rule = "exact", length: int = 0) -> Tensor:
    """Packed rows (n, k) of the k nearest particles of the same jet; n itself where there are not so many.

    The published code of ParticleNet takes the k + 1 smallest distances and drops the first, which is meant to be the
    particle itself. Among particles at one place, and where rounding hides the distance, another one may come first:
    it is then missing, and the particle is its own neighbour.

    Args:
        points: (B, N, D), euclidean.
        packing: of the batch.
        number: k.
        knn: as in :class:`jetloom.models.particlenet.ParticleNet`.
        length: of the padded input, at which the published rules decide ties.
    """
    mask, width = packing.mask, points.shape[1]
    spare = kernel.spare(width, length)
    distance = squared_distances(
        functional.pad(points, (0, 0, 0, spare)),
        functional.pad(mask, (0, spare)),
        own_first=knn != "weaver0.4",
        floor=knn == "published",
    )[:, :width]
    if knn == "exact":
        itself = torch.arange(width, device=points.device)
        distance[:, itself, itself] = -torch.inf
    nearest, slot = smallest(packing.pack(distance), number + 1, None if knn == "exact" else length)
    nearest, slot = nearest[:, 1:], slot[:, 1:]
    # From slot to packed row: the number of kept particles before it.
    flat = mask.flatten()
    row = torch.arange(flat.shape[0], device=flat.device)
    start = row // width * width
    if packing.rows is not None:
        row, start = flat.long().cumsum(0) - 1, start[packing.rows]
    return row[start[:, None] + slot.clamp(max=width - 1)].masked_fill(nearest.isinf(), start.shape[0])
