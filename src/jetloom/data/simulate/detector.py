"""A parametric detector after the Delphes card of JetClass: solenoid, tracker, two calorimeters, energy flow.

Written from the constants of that card (CMS-like; Delphes: arXiv:1307.6346); no pile-up. Everything is vectorised
over the particles of a batch. Momenta and energies in GeV, lengths in mm.
"""

from typing import Literal, NamedTuple

import numpy

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
_REGIONS = numpy.array([0.9, 1.4])
_D0 = numpy.array([[0.0108, 0.0098, 0.0140], [0.0864, 0.1035, 0.1633], [0.7747, 0.8001, 0.8851]])
_DZ = numpy.array([[0.0307, 0.0344, 0.0792], [0.1160, 0.2020, 0.6597], [0.7472, 0.7856, 0.8684]])
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

    event: numpy.ndarray
    pid: numpy.ndarray
    charge: numpy.ndarray
    pt: numpy.ndarray
    eta: numpy.ndarray
    surface_eta: numpy.ndarray
    phi: numpy.ndarray
    mass: numpy.ndarray
    d0: numpy.ndarray
    d0_error: numpy.ndarray
    dz: numpy.ndarray
    dz_error: numpy.ndarray


class _Path(NamedTuple):
    """Where particles leave the tracker, and their closest approach to the beam axis."""

    eta: numpy.ndarray
    phi: numpy.ndarray
    d0: numpy.ndarray
    dz: numpy.ndarray


def detect(particles: Particles, generator: numpy.random.Generator, mode: Mode = "jetclass") -> Flow:
    """Energy-flow candidates of a batch.

    Args:
        particles: final visible particles, flat, ordered by event.
        generator: random numbers of efficiencies and resolutions.
        mode: ``jetclass`` scales the tracks of a calorimeter tower to its energy where no excess is seen, as
            JetClass' version of Delphes does with tracks of zero momentum error; ``ideal`` leaves tracks as they are.
    """
    pt = numpy.hypot(particles.px, particles.py)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        eta = numpy.arcsinh(particles.pz / pt)
    inside = (
        (pt > 1e-4)
        & (numpy.abs(eta) < LARGEST_ETA)
        & (numpy.hypot(particles.x, particles.y) < RADIUS)
        & (numpy.abs(particles.z) < HALF_LENGTH)
    )
    particles = Particles(*(column[inside] for column in particles))
    pt, eta = pt[inside], eta[inside]
    phi = numpy.arctan2(particles.py, particles.px)
    energy = numpy.sqrt((pt * numpy.cosh(eta)) ** 2 + particles.mass**2)
    path = _propagate(particles, pt, phi)

    species = numpy.abs(particles.pid)
    electromagnetic = (species == 11) | (species == PHOTON)
    tracked = (particles.charge != 0) & (
        generator.random(len(pt)) < _tracking_efficiency(species, pt, numpy.abs(path.eta))
    )
    factor = numpy.ones(len(pt))
    neutrals: list[Flow] = []
    layers: list[tuple[Calorimeter, numpy.ndarray, int]] = [
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
    kept = numpy.flatnonzero(tracked & (factor > 0))
    tracks = _tracks(particles, path, kept, pt * factor, eta, phi, generator)
    flow = Flow(*(numpy.concatenate(columns) for columns in zip(tracks, *neutrals, strict=True)))
    order = numpy.argsort(flow.event, kind="stable")
    return Flow(*(column[order] for column in flow))


def _propagate(particles: Particles, pt: numpy.ndarray, phi: numpy.ndarray) -> _Path:
    """Straight lines and helices from the production vertices to the surface of the tracker."""
    slope = particles.pz / pt
    outward = numpy.cos(phi) * particles.x + numpy.sin(phi) * particles.y
    to_barrel = -outward + numpy.sqrt(outward**2 + RADIUS**2 - particles.x**2 - particles.y**2)
    with numpy.errstate(divide="ignore"):
        to_endcap = numpy.where(slope == 0, numpy.inf, (numpy.copysign(HALF_LENGTH, slope) - particles.z) / slope)
    d0, dz = numpy.zeros(len(pt)), numpy.zeros(len(pt))

    # Charged: centre of the circle, and the two path lengths at which it meets the barrel.
    bent = numpy.flatnonzero(particles.charge)
    curve = pt[bent] / (_BENDING * particles.charge[bent])
    start = phi[bent]
    centre_x = particles.x[bent] + curve * numpy.sin(start)
    centre_y = particles.y[bent] - curve * numpy.cos(start)
    centre = numpy.hypot(centre_x, centre_y)
    azimuth = numpy.arctan2(centre_y, centre_x)
    with numpy.errstate(invalid="ignore", divide="ignore"):
        reach = numpy.arcsin((RADIUS**2 - centre**2 - curve**2) / (2 * curve * centre))  # nan: never out
        turn = 2 * numpy.pi * numpy.abs(curve)
        barrel = numpy.minimum(
            numpy.mod(curve * (start - azimuth + reach), turn),
            numpy.mod(curve * (start - azimuth + numpy.pi - reach), turn),
        )
    to_barrel[bent] = numpy.where(numpy.isnan(barrel), numpy.inf, barrel)

    length = numpy.minimum(to_barrel, to_endcap)
    # A looper that crosses nothing (pz = 0) stays where it is born.
    length[~numpy.isfinite(length)] = 0.0
    end = numpy.empty((3, len(pt)))
    end[0] = particles.x + length * numpy.cos(phi)
    end[1] = particles.y + length * numpy.sin(phi)
    end[2] = particles.z + length * slope
    angle = start - length[bent] / curve
    end[0, bent] = centre_x - curve * numpy.sin(angle)
    end[1, bent] = centre_y + curve * numpy.cos(angle)

    # Closest approach: on the line from the beam axis to the centre of the circle.
    side = numpy.sign(curve)
    direction = numpy.arctan2(side * centre_x, -side * centre_y)
    back = curve * wrapped(start - direction)
    shrink = 1 - numpy.abs(curve) / numpy.maximum(centre, 1e-12)
    d0[bent] = shrink * (centre_x * numpy.sin(direction) - centre_y * numpy.cos(direction))
    dz[bent] = particles.z[bent] + back * slope[bent]
    radius = numpy.maximum(numpy.hypot(end[0], end[1]), 1e-9)
    return _Path(numpy.arcsinh(end[2] / radius), numpy.arctan2(end[1], end[0]), d0, dz)


def _tracking_efficiency(species: numpy.ndarray, pt: numpy.ndarray, eta: numpy.ndarray) -> numpy.ndarray:
    efficiency = numpy.zeros(len(pt))
    for pid, (edges, barrel, endcap) in _EFFICIENCY.items():
        mine = ~numpy.isin(species, (11, 13)) if pid == 0 else species == pid
        pt_bin = numpy.searchsorted(edges, pt[mine], side="left")
        efficiency[mine] = numpy.select(
            [eta[mine] <= 1.5, eta[mine] <= 2.5],
            [numpy.array([0.0, *barrel])[pt_bin], numpy.array([0.0, *endcap])[pt_bin]],
            0.0,
        )
    return efficiency


def _tracks(
    particles: Particles,
    path: _Path,
    kept: numpy.ndarray,
    pt: numpy.ndarray,
    eta: numpy.ndarray,
    phi: numpy.ndarray,
    generator: numpy.random.Generator,
) -> Flow:
    true_pt = numpy.hypot(particles.px, particles.py)[kept]
    region = numpy.searchsorted(_REGIONS, numpy.abs(path.eta[kept]), side="right")
    errors = []
    for a, b, c in (_D0[:, region], _DZ[:, region]):
        error = numpy.sqrt(a**2 + (b * true_pt**-c) ** 2)
        errors.append(numpy.where(true_pt < _SOFTEST_RESOLVED, 0.0, error))
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


def _neutrals(event: numpy.ndarray, pid: int, energy: numpy.ndarray, eta: numpy.ndarray, phi: numpy.ndarray) -> Flow:
    zero = numpy.zeros(len(event))
    return Flow(
        event=event,
        pid=numpy.full(len(event), pid),
        charge=numpy.zeros(len(event), dtype=numpy.int64),
        pt=energy / numpy.cosh(eta),
        eta=eta,
        surface_eta=eta,
        phi=phi,
        mass=zero,
        d0=zero,
        d0_error=zero,
        dz=zero,
        dz_error=zero,
    )
