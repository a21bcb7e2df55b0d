"""Angles and masses of jets as arrays, for code that starts without torch."""

import numpy as np
from numpy.typing import NDArray


def wrapped(angle: NDArray[np.floating]) -> NDArray[np.floating]:
    """An azimuth, or a difference of two, in [-pi, pi)."""
    turned: NDArray[np.floating] = np.mod(angle + np.pi, 2 * np.pi) - np.pi
    return turned


def jet_mass(pt: NDArray[np.floating], eta: NDArray[np.floating], energy: NDArray[np.floating]) -> NDArray[np.float64]:
    """sqrt(E^2 - (pT cosh eta)^2) in GeV, 0 where rounding makes the square negative.

    Args:
        pt: (n,) transverse momentum, GeV.
        eta: (n,) pseudorapidity.
        energy: (n,) GeV.
    """
    pt, eta, energy = (column.astype(float) for column in (pt, eta, energy))
    mass: NDArray[np.float64] = np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0.0))
    return mass
