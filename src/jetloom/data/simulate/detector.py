"""A parametric detector after the Delphes card of JetClass: solenoid, tracker, two calorimeters, energy flow.

Written from the constants of that card (CMS-like; Delphes: arXiv:1307.6346); no pile-up. Everything is vectorised
over the particles of a batch. Momenta and energies in GeV, lengths in mm.
"""

from typing import Literal, NamedTuple

import numpy as np

from jetloom.data.axes import wrapped
from jetloom.data.simulate.calorimeter import ECAL, HCAL, Calorimeter, measure
from jetloom.data.simulate.events import Particles

Mode = Literal["jetclass", "ideal"]

FIELD = 3.8  # tesla
RADIUS = 1290.0
HALF_LENGTH = 3000.0
LARGEST_ETA = 4.0
# pT (GeV) over radius of curvature (mm) for unit charge in this field.
_BENDING = 0.299792458e-3 * FIELD

# Impact-parameter resolution sqrt(a^2 + (b pT^-c)^2) by |eta| region: rows a, b, c.
_REGIONS = np.array([0.9, 1.4])
_D0 = np.array([[0.0108, 0.0098, 0.0140], [0.0864, 0.1035, 0.1633], [0.7747, 0.8001, 0.8851]])
_DZ = np.array([[0.0307, 0.0344, 0.0792], [0.1160, 0.2020, 0.6597], [0.7472, 0.7856, 0.8684]])
_SOFTEST_RESOLVED = 0.1823

# Tracking efficiency: |pid| -> lower pT edges, then efficiency per pT bin for |eta| <= 1.5 and <= 2.5.
_EFFICIENCY: dict[int, tuple[list[float], list[float], list[float]]] = {
    0: ([0.1, 1.0], [0.70, 0.95], [0.60, 0.85]),
    11: ([0.1, 1.0, 100.0], [0.73, 0.95, 0.99], [0.50, 0.83, 0.90]),
    13: ([0.1, 1.0], [0.75, 0.99], [0.70, 0.98]),
}

NEUTRAL_HADRON = 0
PHOTON = 22


class Flow(NamedTuple):
    """Energy-flow candidates of a batch, flat arrays ordered by event.

    ``eta`` is the direction of the momentum, ``surface_eta`` that of the point where the particle leaves the tracker:
    JetClass stores the latter. ``pid`` is 0 for neutral hadrons. ``d0``, ``dz`` and their errors are 0 for neutrals.
    """

    event: np.ndarray
    pid: np.ndarray
    charge: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    surface_eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray
    d0: np.ndarray
    d0_error: np.ndarray
    dz: np.ndarray
    dz_error: np.ndarray


class _Path(NamedTuple):
    """Where particles leave the tracker, and their closest approach to the beam axis."""

    eta: np.ndarray
    phi: np.ndarray
    d0: np.ndarray
    dz: np.ndarray


def detect(particles: Particles, generator: np.random.Generator, mode: Mode = "jetclass") -> Flow:
    """Energy-flow candidates of a batch.

    Args:
        particles: final visible particles, flat, ordered by event.
        generator: random numbers of efficiencies and resolutions.
        mode: ``jetclass`` scales the tracks of a calorimeter tower to its energy where no excess is seen, as
            JetClass' version of Delphes does with tracks of zero momentum error; ``ideal`` leaves tracks as they are.
    """
    pt = np.hypot(particles.px, particles.py)
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.arcsinh(particles.pz / pt)
    inside = (
        (pt > 1e-4)
        & (np.abs(eta) < LARGEST_ETA)
        & (np.hypot(particles.x, particles.y) < RADIUS)
        & (np.abs(particles.z) < HALF_LENGTH)
    )
    particles = Particles(*(column[inside] for column in particles))
    pt, eta = pt[inside], eta[inside]
    phi = np.arctan2(particles.py, particles.px)
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + particles.mass**2)
    path = _propagate(particles, pt, phi)

    species = np.abs(particles.pid)
    electromagnetic = (species == 11) | (species == PHOTON)
    tracked = (particles.charge != 0) & (
        generator.random(len(pt)) < _tracking_efficiency(species, pt, np.abs(path.eta))
    )
    factor = np.ones(len(pt))
    neutrals: list[Flow] = []
    layers: list[tuple[Calorimeter, np.ndarray, int]] = [
        (ECAL, electromagnetic, PHOTON),
        (HCAL, ~electromagnetic & (species != 13), NEUTRAL_HADRON),
    ]
    for calorimeter, deposits, pid in layers:
        towers = measure(
            calorimeter,
            particles.event[deposits],
            path.eta[deposits],
            path.phi[deposits],
            energy[deposits],
            tracked[deposits],
            generator,
        )
        factor[deposits] = towers.track_factor
        neutrals.append(_neutrals(towers.event, pid, towers.energy, towers.eta, towers.phi))
    if mode == "ideal":
        factor[:] = 1.0
    kept = np.flatnonzero(tracked & (factor > 0))
    tracks = _tracks(particles, path, kept, pt * factor, eta, phi, generator)
    flow = Flow(*(np.concatenate(columns) for columns in zip(tracks, *neutrals, strict=True)))
    order = np.argsort(flow.event, kind="stable")
    return Flow(*(column[order] for column in flow))


def _propagate(particles: Particles, pt: np.ndarray, phi: np.ndarray) -> _Path:
    """Straight lines and helices from the production vertices to the surface of the tracker."""
    slope = particles.pz / pt
    outward = np.cos(phi) * particles.x + np.sin(phi) * particles.y
    to_barrel = -outward + np.sqrt(outward**2 + RADIUS**2 - particles.x**2 - particles.y**2)
    with np.errstate(divide="ignore"):
        to_endcap = np.where(slope == 0, np.inf, (np.copysign(HALF_LENGTH, slope) - particles.z) / slope)
    d0, dz = np.zeros(len(pt)), np.zeros(len(pt))

    # Charged: centre of the circle, and the two path lengths at which it meets the barrel.
    bent = np.flatnonzero(particles.charge)
    curve = pt[bent] / (_BENDING * particles.charge[bent])
    start = phi[bent]
    centre_x = particles.x[bent] + curve * np.sin(start)
    centre_y = particles.y[bent] - curve * np.cos(start)
    centre = np.hypot(centre_x, centre_y)
    azimuth = np.arctan2(centre_y, centre_x)
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.arcsin((RADIUS**2 - centre**2 - curve**2) / (2 * curve * centre))  # nan: never out
        turn = 2 * np.pi * np.abs(curve)
        barrel = np.minimum(
            np.mod(curve * (start - azimuth + reach), turn),
            np.mod(curve * (start - azimuth + np.pi - reach), turn),
        )
    to_barrel[bent] = np.where(np.isnan(barrel), np.inf, barrel)

    length = np.minimum(to_barrel, to_endcap)
    # A looper that crosses nothing (pz = 0) stays where it is born.
    length[~np.isfinite(length)] = 0.0
    end = np.empty((3, len(pt)))
    end[0] = particles.x + length * np.cos(phi)
    end[1] = particles.y + length * np.sin(phi)
    end[2] = particles.z + length * slope
    angle = start - length[bent] / curve
    end[0, bent] = centre_x - curve * np.sin(angle)
    end[1, bent] = centre_y + curve * np.cos(angle)

    # Closest approach: on the line from the beam axis to the centre of the circle.
    side = np.sign(curve)
    direction = np.arctan2(side * centre_x, -side * centre_y)
    back = curve * wrapped(start - direction)
    shrink = 1 - np.abs(curve) / np.maximum(centre, 1e-12)
    d0[bent] = shrink * (centre_x * np.sin(direction) - centre_y * np.cos(direction))
    dz[bent] = particles.z[bent] + back * slope[bent]
    radius = np.maximum(np.hypot(end[0], end[1]), 1e-9)
    return _Path(np.arcsinh(end[2] / radius), np.arctan2(end[1], end[0]), d0, dz)


def _tracking_efficiency(species: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    efficiency = np.zeros(len(pt))
    for pid, (edges, barrel, endcap) in _EFFICIENCY.items():
        mine = ~np.isin(species, (11, 13)) if pid == 0 else species == pid
        pt_bin = np.searchsorted(edges, pt[mine], side="left")
        efficiency[mine] = np.select(
            [eta[mine] <= 1.5, eta[mine] <= 2.5],
            [np.array([0.0, *barrel])[pt_bin], np.array([0.0, *endcap])[pt_bin]],
            0.0,
        )
    return efficiency


def _tracks(
    particles: Particles,
    path: _Path,
    kept: np.ndarray,
    pt: np.ndarray,
    eta: np.ndarray,
    phi: np.ndarray,
    generator: np.random.Generator,
) -> Flow:
    true_pt = np.hypot(particles.px, particles.py)[kept]
    region = np.searchsorted(_REGIONS, np.abs(path.eta[kept]), side="right")
    errors = []
    for a, b, c in (_D0[:, region], _DZ[:, region]):
        error = np.sqrt(a**2 + (b * true_pt**-c) ** 2)
        errors.append(np.where(true_pt < _SOFTEST_RESOLVED, 0.0, error))
    noise = generator.standard_normal((2, len(kept)))
    return Flow(
        event=particles.event[kept],
        pid=particles.pid[kept],
        charge=particles.charge[kept],
        pt=pt[kept],
        eta=eta[kept],
        surface_eta=path.eta[kept],
        phi=phi[kept],
        mass=particles.mass[kept],
        d0=path.d0[kept] + noise[0] * errors[0],
        d0_error=errors[0],
        dz=path.dz[kept] + noise[1] * errors[1],
        dz_error=errors[1],
    )


def _neutrals(event: np.ndarray, pid: int, energy: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> Flow:
    zero = np.zeros(len(event))
    return Flow(
        event=event,
        pid=np.full(len(event), pid),
        charge=np.zeros(len(event), dtype=np.int64),
        pt=energy / np.cosh(eta),
        eta=eta,
        surface_eta=eta,
        phi=phi,
        mass=zero,
        d0=zero,
        d0_error=zero,
        dz=zero,
        dz_error=zero,
    )
