"""Calorimeters of the JetClass detector card: towers, resolutions and the energy-flow rule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jetloom.data.axes import wrapped

_FORWARD = [3.125, 3.3, 3.475, 3.65, 3.825, 4.0, 4.175]


@dataclass(frozen=True)
class Calorimeter:
    """Tower grid, resolution and thresholds.

    Attributes:
        edges: rising |eta| edges of the towers, from 0.
        fine_rows: rows of towers in |eta| with ``fine_cells`` cells in phi; the others have ``coarse_cells``.
        resolution: (energy, |eta|) -> standard deviation, GeV.
        lowest_energy: threshold of a tower, GeV.
        lowest_significance: threshold in standard deviations.
    """

    edges: np.ndarray
    fine_rows: int
    fine_cells: int
    coarse_cells: int
    resolution: Callable[[np.ndarray, np.ndarray], np.ndarray]
    lowest_energy: float
    lowest_significance: float


class Towers(NamedTuple):
    """Answer of a calorimeter.

    ``track_factor`` (one per deposit) is what a track of that tower is multiplied by. The other arrays hold one
    massless neutral particle per tower with excess energy, its direction uniform within the tower.
    """

    track_factor: np.ndarray
    event: np.ndarray
    energy: np.ndarray
    eta: np.ndarray
    phi: np.ndarray


def _ecal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    base = np.sqrt((0.008 * energy) ** 2 + 0.11**2 * energy + 0.40**2)
    return np.select(
        [eta <= 1.5, eta <= 2.5],
        [(1 + 0.64 * eta**2) * base, (2.16 + 5.6 * (eta - 2) ** 2) * base],
        np.sqrt((0.107 * energy) ** 2 + 2.08**2 * energy),
    )


def _hcal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    return np.sqrt((0.05 * energy) ** 2 + 1.5**2 * energy)


ECAL = Calorimeter(
    edges=np.concatenate([0.0174 * np.arange(171), _FORWARD]),
    fine_rows=170,
    fine_cells=360,
    coarse_cells=36,
    resolution=_ecal_resolution,
    lowest_energy=0.5,
    lowest_significance=2.0,
)
HCAL = Calorimeter(
    edges=np.concatenate(
        [0.087 * np.arange(20), [1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 2.95], _FORWARD]
    ),
    fine_rows=19,
    fine_cells=72,
    coarse_cells=36,
    resolution=_hcal_resolution,
    lowest_energy=1.0,
    lowest_significance=1.0,
)


def measure(
    calorimeter: Calorimeter,
    event: np.ndarray,
    eta: np.ndarray,
    phi: np.ndarray,
    energy: np.ndarray,
    tracked: np.ndarray,
    generator: np.random.Generator,
) -> Towers:
    """Energies seen in the towers and what energy flow makes of them.

    The energy of a tower is log-normal around the sum of its deposits, and 0 below threshold. What exceeds the tracks
    significantly becomes a neutral particle; otherwise the tracks are scaled to the tower's energy.

    Args:
        calorimeter: grid and resolution.
        event: event of each deposit (deposits,).
        eta: where it enters, pseudorapidity.
        phi: azimuth, radians.
        energy: GeV.
        tracked: whether the particle also has a track.
        generator: random numbers.
    """
    row = np.searchsorted(calorimeter.edges, np.abs(eta), side="right") - 1
    row = np.minimum(row, len(calorimeter.edges) - 2)
    cells = np.where(row < calorimeter.fine_rows, calorimeter.fine_cells, calorimeter.coarse_cells)
    cell = np.minimum((np.mod(phi, 2 * np.pi) / (2 * np.pi) * cells).astype(np.int64), cells - 1)
    half = len(calorimeter.edges) - 1
    signed_row = np.where(eta < 0, row + half, row)
    key = (event * 2 * half + signed_row) * calorimeter.fine_cells + cell
    towers, tower = np.unique(key, return_inverse=True)

    row = towers // calorimeter.fine_cells % (2 * half)
    sign = np.where(row >= half, -1.0, 1.0)
    row %= half
    low, high = calorimeter.edges[row], calorimeter.edges[row + 1]
    centre = (low + high) / 2
    deposited = np.bincount(tower, energy, len(towers))
    seen = _log_normal(deposited, calorimeter.resolution(deposited, centre), generator)
    sigma = calorimeter.resolution(seen, centre)
    seen[~_significant(calorimeter, seen, sigma)] = 0.0
    charged = np.bincount(tower, energy * tracked, len(towers))
    excess = np.maximum(seen - charged, 0.0)
    neutral = _significant(calorimeter, excess, sigma)
    factor = np.where(neutral | (charged == 0), 1.0, seen / np.where(charged == 0, 1.0, charged))

    place = generator.random((2, len(towers)))
    cells = np.where(row < calorimeter.fine_rows, calorimeter.fine_cells, calorimeter.coarse_cells)
    phi_in = (towers % calorimeter.fine_cells + place[1]) / cells * 2 * np.pi
    return Towers(
        track_factor=factor[tower],
        event=(towers // calorimeter.fine_cells // (2 * half))[neutral],
        energy=excess[neutral],
        eta=(sign * (low + place[0] * (high - low)))[neutral],
        phi=wrapped(phi_in)[neutral],
    )


def _significant(calorimeter: Calorimeter, energy: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return (energy > calorimeter.lowest_energy) & (energy > calorimeter.lowest_significance * sigma)


def _log_normal(mean: np.ndarray, sigma: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    width = np.log1p((sigma / mean) ** 2)
    drawn: np.ndarray = np.exp(np.log(mean) - width / 2 + np.sqrt(width) * generator.standard_normal(len(mean)))
    return drawn
