"""Substructure of jets: N-subjettiness, energy correlators, mass. Numpy only.

Four-vectors are (B, N, 4) arrays of px, py, pz, E in GeV, massless or massive, added component by component (E scheme);
``mask`` (B, N) is True for a real particle, and padded slots may hold anything, also NaN. Distances are in *rapidity*
y and azimuth, between particles as well as to axes, which carry mass; the jet radius is 0.8. Squared masses that
rounding makes negative count as zero. Everything is computed in float64.

N-subjettiness here has exclusive-kT axes. FastJet contrib's default has other axes and gives smaller values: compare
like with like only.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

RADIUS = 0.8
OBSERVABLES = ("mass", "pt", "multiplicity", "tau21", "tau32", "d2")
EDGES: Array = np.geomspace(1e-3, 1.0, 31)
"""Bins of the energy correlator: ten per decade of the angle."""

_CELLS = 500_000
"""Pairs of particles at a time: arrays of 4 MB stay in the cache."""
_ROUNDING = 1e-13
"""Angles (weighted by shares of pT) up to here are those of one direction."""
_FORWARD = 1e5
"""Rapidity of a massless momentum along the beam."""


def n_subjettiness(vectors: NDArray[np.floating], mask: Mask, most: int = 3, radius: float = RADIUS) -> Array:
    """N-subjettiness with exclusive-kT axes and beta = 1 (Thaler and Van Tilburg, arXiv:1011.2268).

    tau_N = sum_i pT_i min_a Delta R(i, a) / (R sum_i pT_i), over the axes a that the kT algorithm leaves when it stops
    at N objects: exclusive mode of Catani et al., Nucl. Phys. B 406 (1993) 187, where objects also go to the beam, with
    d_ij = min(pT_i, pT_j)^2 (Delta R_ij / R)^2 and d_iB = pT_i^2.

    Args:
        vectors: (B, N, 4).
        mask: (B, N).
        most: largest number of axes.
        radius: R of the kT algorithm and of the normalisation.

    Returns:
        (B, most), tau_1 first. NaN for tau_N of a jet of fewer than N particles and of one without transverse momentum.
    """
    taus = np.full((len(mask), most), np.nan)
    for rows, chunk, count in _chunks(vectors, mask):
        pt, rapidity, azimuth = _coordinates(chunk)
        share = _shares(pt)
        for axes, axis_rapidity, axis_azimuth in _exclusive_axes(chunk, count, most, radius):
            jets = len(axis_rapidity)
            squared = _squared_distance(
                rapidity[:jets, :, None] - axis_rapidity[:, None], azimuth[:jets, :, None] - axis_azimuth[:, None]
            )
            tau = (share[:jets] * np.sqrt(squared.min(axis=2))).sum(axis=1) / radius
            taus[rows[:jets], axes - 1] = np.where(share[:jets].any(axis=1), tau, np.nan)
    return taus


def d2(vectors: NDArray[np.floating], mask: Mask) -> Array:
    """D2 of energy correlators at beta = 1 (Larkoski, Moult and Neill, arXiv:1409.6298).

    D2 = e3 / e2^3 with e2 = sum_{i<j} z_i z_j R_ij and e3 = sum_{i<j<k} z_i z_j z_k R_ij R_ik R_jk, where z is the
    share of a particle in the sum of pT.

    Args:
        vectors: (B, N, 4).
        mask: (B, N).

    Returns:
        (B,). 0 for two particles; NaN where e2 = 0: fewer than two directions.
    """
    values = np.full(len(mask), np.nan)
    for rows, chunk, _ in _chunks(vectors, mask):
        pt, rapidity, azimuth = _coordinates(chunk)
        share = _shares(pt)
        angle = _pair_distances(rapidity, azimuth)
        root = np.sqrt(share)
        second = ((share[:, None, :] @ angle)[:, 0] * share).sum(axis=1) / 2
        # e3 = tr((Z R)^3) / 6; the form below is symmetric.
        weighted = root[:, :, None] * angle * root[:, None, :]
        third = ((weighted @ weighted) * weighted).sum(axis=(1, 2)) / 6
        apart = second > _ROUNDING
        values[rows[apart]] = third[apart] / second[apart] ** 3
    return values


def energy_correlator(vectors: NDArray[np.floating], mask: Mask, edges: Array = EDGES) -> Array:
    """Two-point energy correlator: distribution of the angle between two particles of a jet, weighted by their pT.

    Args:
        vectors: (B, N, 4).
        mask: (B, N).
        edges: (K + 1,) increasing edges of Delta R.

    Returns:
        (K,), sum over jets and pairs i < j of z_i z_j with z the share of the jet's pT, divided by the sum of all bins.
        Pairs outside the edges do not count; zeros where no pair is inside.
    """
    total = np.zeros(len(edges) - 1)
    for _, chunk, _ in _chunks(vectors, mask):
        pt, rapidity, azimuth = _coordinates(chunk)
        share = _shares(pt)
        first, second = np.triu_indices(chunk.shape[1], k=1)
        squared = _squared_distance(rapidity[:, first] - rapidity[:, second], azimuth[:, first] - azimuth[:, second])
        total += np.histogram(np.sqrt(squared), edges, weights=share[:, first] * share[:, second])[0]
    inside = total.sum()
    return total / inside if inside > 0 else total


def observables(vectors: NDArray[np.floating], mask: Mask) -> dict[str, Array]:
    """The quantities of :data:`OBSERVABLES`, in that order, (B,) each.

    Args:
        vectors: (B, N, 4).
        mask: (B, N).

    Returns:
        ``mass`` and ``pt`` (GeV) of the sum of the particles, the number of particles, tau2 / tau1, tau3 / tau2, D2.
        NaN where undefined: tau21 of fewer than two particles or tau1 = 0, tau32 of fewer than three or tau2 = 0.
    """
    total: Array = np.sum(vectors, axis=1, where=mask[:, :, None], dtype=np.float64)
    px, py, pz, energy = total.T
    pt = np.hypot(px, py)
    mass = np.sqrt(np.maximum((energy - pz) * (energy + pz) - pt**2, 0.0))
    tau1, tau2, tau3 = n_subjettiness(vectors, mask).T
    columns = (mass, pt, mask.sum(axis=1).astype(float), _ratio(tau2, tau1), _ratio(tau3, tau2), d2(vectors, mask))
    return dict(zip(OBSERVABLES, columns, strict=True))


def _ratio(above: Array, below: Array) -> Array:
    """A quotient, NaN where the divisor is zero or NaN."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > _ROUNDING)


def _chunks(vectors: NDArray[np.floating], mask: Mask) -> Iterator[tuple[Index, Array, Index]]:
    """Jets in parts, those with many particles first.

    Yields:
        The places (b,) of some jets, their four-vectors (b, n, 4) with the real particles in front and zeros behind,
        and their numbers of particles (b,), decreasing; n is the largest of them, and b n^2 is bounded.
    """
    count = mask.sum(axis=1)
    order = np.argsort(-count, kind="stable")
    begin = 0
    while begin < len(order):
        longest = int(count[order[begin]])
        rows = order[begin : begin + max(1, _CELLS // max(1, longest) ** 2)]
        begin += len(rows)
        slots = np.argsort(~mask[rows], axis=1, kind="stable")[:, :longest]
        real = np.arange(longest) < count[rows, None]
        chunk = np.zeros((len(rows), longest, 4))
        chunk[real] = vectors[rows[:, None], slots][real]
        yield rows, chunk, count[rows]


def _coordinates(vectors: Array) -> tuple[Array, Array, Array]:
    """pT, rapidity and azimuth (...,) of (..., 4); zeros for a vector of zeros.

    |y| = ln((E + |pz|) / mT), with mT^2 = E^2 - pz^2 but at least pT^2.
    """
    px, py, pz, energy = np.moveaxis(vectors, -1, 0)
    pt = np.hypot(px, py)
    transverse = np.sqrt(np.maximum((energy - pz) * (energy + pz), pt**2))
    size = np.where(pz == 0, 0.0, _FORWARD)
    slanted = transverse > 0
    ratio = np.divide(energy + np.abs(pz), transverse, out=np.ones_like(pt), where=slanted)
    np.log(np.maximum(ratio, 1.0), out=size, where=slanted)  # below one: an energy less than pT
    return pt, np.copysign(size, pz), np.arctan2(py, px)


def _squared_distance(rapidity: Array, azimuth: Array) -> Array:
    """Delta R squared from differences of rapidities and of azimuths in (-pi, pi]."""
    azimuth = np.abs(azimuth)
    squared: Array = rapidity**2 + np.minimum(azimuth, 2 * np.pi - azimuth) ** 2
    return squared


def _pair_distances(rapidity: Array, azimuth: Array) -> Array:
    """(b, n) coordinates -> (b, n, n) Delta R."""
    squared = _squared_distance(rapidity[:, :, None] - rapidity[:, None], azimuth[:, :, None] - azimuth[:, None])
    return np.sqrt(squared)


def _shares(pt: Array) -> Array:
    """Shares (b, n) in the sum of pT; zeros for a jet without any."""
    total: Array = pt.sum(axis=1, keepdims=True)
    shares: Array = np.divide(pt, total, out=np.zeros_like(pt), where=total > 0)
    return shares


def _exclusive_axes(vectors: Array, count: Index, most: int, radius: float) -> Iterator[tuple[int, Array, Array]]:
    """Cluster jets with the kT algorithm.

    The objects of a jet are kept in front, the distances of all pairs of them and, on the diagonal, to the beam. A step
    takes one object out of each jet that has ``left`` of them, so that these jets are always the first ones.

    Args:
        vectors: (b, n, 4), real particles in front.
        count: (b,) particles of each jet, decreasing.

    Yields:
        Number of axes, ``most`` first, with rapidity and azimuth (jets, axes) of the jets that have so many particles.
    """
    objects = vectors.copy()
    pt, rapidity, azimuth = _coordinates(objects)
    diagonal = np.arange(objects.shape[1])
    distance = _kt_distance(np.minimum(pt[:, :, None], pt[:, None]), _pair_distances(rapidity, azimuth) ** 2, radius)
    distance[:, diagonal, diagonal] = pt**2
    for left in range(objects.shape[1], 0, -1):
        jets = int(np.searchsorted(-count, -left, side="right"))
        if left <= most:
            yield left, rapidity[:jets, :left], azimuth[:jets, :left]
        row, last = np.arange(jets), left - 1
        nearest = distance[:jets, :left, :left].reshape(jets, -1).argmin(axis=1)
        one, other = np.divmod(nearest, left)  # one <= other; equal: the object goes to the beam
        objects[row, one] += np.where((one < other)[:, None], objects[row, other], 0.0)
        pt[row, one], rapidity[row, one], azimuth[row, one] = _coordinates(objects[row, one])
        squared = _squared_distance(
            rapidity[row, one][:, None] - rapidity[:jets, :left], azimuth[row, one][:, None] - azimuth[:jets, :left]
        )
        fresh = _kt_distance(np.minimum(pt[row, one][:, None], pt[:jets, :left]), squared, radius)
        distance[row, one, :left] = fresh
        distance[row, :left, one] = fresh
        distance[row, one, one] = pt[row, one] ** 2
        for values in (objects, pt, rapidity, azimuth):
            values[row, other] = values[:jets, last]
        distance[row, other, :left] = distance[:jets, last, :left]
        distance[row, :left, other] = distance[:jets, :left, last]


def _kt_distance(softer: Array, squared: Array, radius: float) -> Array:
    """kT distance of pairs; infinite from R on, where the softer one is at least as near to the beam."""
    return np.where(squared < radius**2, softer**2 * squared / radius**2, np.inf)
