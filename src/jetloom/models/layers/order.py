"""The order in which ordered networks read the particles of a jet or the points of a cloud.

Sorting is part of the model: it runs on the device, on raw kinematics, and is timed with the rest. The author code of
SAL-T (arXiv:2510.23641) sorts beforehand on the host, with keys computed from the *standardised* inputs; the
``published_*`` keys do the latter.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import order as kernel
from jetloom.models.layers.constants import constants

PublishedKey = Literal["published_kt", "published_pt", "published_delta_R", "published_eta", "published_phi"]
SortKey = Literal["auto", "none", "random", "kt", "pt", "delta_R", "eta", "phi", "morton", "x", "y", "z"] | PublishedKey
"""What :func:`sort_key` sorts by; none: the order of the input."""

CELLS = 1 << 16
"""Cells of the Morton grid along each axis of [-1, 1]."""
_SPREAD = {
    2: ((256, 0x00FF00FF), (16, 0x0F0F0F0F), (4, 0x33333333), (2, 0x55555555)),
    3: (
        (65536, 0x0000FF0000FF),
        (256, 0x00F00F00F00F),
        (16, 0x0C30C30C30C3),
        (4, 0x249249249249),
    ),
}
"""Steps (factor, bits kept) that put one (two) free bits between the 16 bits of an integer."""


def morton_code(coordinates: Tensor) -> Tensor:
    """Position on the Z-order curve, (..., 2 or 3) in [-1, 1] to (...,) int64: neighbours in space get near codes."""
    dimensions = coordinates.shape[-1]
    cell = ((coordinates.detach().float() + 1) * (CELLS // 2)).clamp(0, CELLS - 1).long()
    for factor, kept in _SPREAD[dimensions]:
        cell = (cell | (cell * factor)) & kept
    return (cell * constants([1 << axis for axis in range(dimensions)], cell)).sum(-1)


def hashed(coordinates: Tensor) -> Tensor:
    """A pseudo-random integer (...,) from the coordinates (..., 2 or 3) of each particle, to a millionth."""
    # Whole numbers: sines or products of floats would depend on how the processor groups the particles.
    cell = (coordinates.detach().float().clamp(-100, 100) * 1e6).round().long()
    primes = constants([73856093, 19349663, 83492791][: cell.shape[-1]], cell)
    return ((cell * primes).sum(-1) % 2147483647) * 48271 % 2147483647


def sort_key(batch: Batch, sort: str, columns: Sequence[int] = (0, 1, 2)) -> Tensor:
    """The number (B, N) by which particles are sorted, the largest first.

    Args:
        batch: jets or point clouds; padded slots must be finite.
        sort: ``auto`` (kt for jets, morton for points); ``kt`` (pT times distance to the jet axis, GeV), ``pt``,
            ``delta_R``, ``eta``, ``phi`` (relative to the jet axis); ``x``, ``y``, ``z`` (coordinates); ``morton``
            (along the Z-order curve through the coordinates); ``random`` (an order drawn from a hash of the
            coordinates: random, but the same whenever the same jet comes); ``published_kt`` and the like (as in the
            author code of SAL-T: from the standardised features).
        columns: features that hold pT, eta, phi for the ``published_*`` keys.

    Raises:
        JetloomError: the data have no such quantity.
    """
    points = batch.vectors is None
    if sort == "auto":
        sort = "morton" if points else "kt"
    if sort.startswith("published_"):
        if max(columns) >= batch.features.shape[-1]:
            raise JetloomError(
                f"sort: {sort} reads features {tuple(columns)}, but there are {batch.features.shape[-1]}; "
                f"say in published_columns which hold pT, eta and phi"
            )
        pt: Tensor | None
        pt, eta, phi = (batch.features[..., column].detach().float() for column in columns)
        coordinates = torch.stack([eta, phi], -1)
        sort = sort.removeprefix("published_")
    else:
        coordinates = batch.coordinates.detach().float()
        if sort in ("kt", "pt", "delta_R", "eta", "phi") and points:
            raise JetloomError(f"sort: {sort} needs jets; for point clouds choose morton, x, y, z, random or none")
        pt = None if batch.vectors is None or sort not in ("kt", "pt") else kinematics.pt(batch.vectors)
    if sort in ("x", "y", "z"):
        axis = "xyz".index(sort)
        if axis >= coordinates.shape[-1]:
            raise JetloomError(f"sort: {sort} needs point clouds; jets have two coordinates, eta and phi")
        return coordinates[..., axis]
    match sort:
        case "kt" if pt is not None:
            return pt * coordinates.square().sum(-1).sqrt()
        case "pt" if pt is not None:
            return pt
        case "delta_R":
            return coordinates.square().sum(-1).sqrt()
        case "eta":
            return coordinates[..., 0]
        case "phi":
            return coordinates[..., 1]
        case "morton":
            return -morton_code(coordinates)
        case "random":
            return hashed(coordinates)
        case _:
            raise JetloomError(f"sort: unknown key {sort!r}")


def real_first(key: Tensor, mask: Tensor) -> Tensor:
    """The key with padded slots moved behind all real ones."""
    lowest = torch.finfo(key.dtype).min if key.is_floating_point() else torch.iinfo(key.dtype).min
    return key.masked_fill(~mask, lowest)


def largest_first(key: Tensor) -> Tensor:
    """Slots (B, N) in the order of falling keys; equal keys stay in the order of the slots."""
    if kernel.serves():
        return kernel.largest_first(key)
    return key.argsort(dim=1, descending=True, stable=True)


def take(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x (B, N, D) in the order (B, M)."""
    if kernel.serves_rows():
        return kernel.take(x, order)
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
