"""Four-vectors: transverse momentum, angles, and the pair features of the Particle Transformer.

Four-vectors are (..., 4) tensors of px, py, pz, E in GeV. Everything is computed in float32 (or float64, when given)
even under autocast, and without gradient: these are inputs, not layers.
"""

import math

import torch
from torch import Tensor

FLOOR = 1e-8
"""Smallest value before a logarithm (ParT, arXiv:2202.03772, author code)."""


def _wide(x: Tensor) -> Tensor:
    return x.detach() if x.dtype == torch.float64 else x.detach().float()


def pt(vectors: Tensor) -> Tensor:
    """Transverse momentum (...,) in GeV."""
    vectors = _wide(vectors)
    return vectors[..., :2].square().sum(-1).sqrt()


def phi(vectors: Tensor) -> Tensor:
    """Azimuth (...,) in (-pi, pi]."""
    vectors = _wide(vectors)
    return torch.atan2(vectors[..., 1], vectors[..., 0])


def eta(vectors: Tensor) -> Tensor:
    """Pseudorapidity (...,); a momentum along the beam gets a large finite value."""
    vectors = _wide(vectors)
    return torch.asinh(vectors[..., 2] / pt(vectors).clamp(min=1e-20)).clamp(-50.0, 50.0)


def rapidity(vectors: Tensor) -> Tensor:
    """Rapidity (...,), ln(1 + 2 pz / (E - pz)) / 2.

    The author code of ParT clamps E - pz only; the floor on the argument of the logarithm keeps a massless particle
    along -z (and rounding that makes E < |pz|) finite and changes nothing else.
    """
    vectors = _wide(vectors)
    pz, energy = vectors[..., 2], vectors[..., 3]
    return 0.5 * (1 + 2 * pz / (energy - pz).clamp(min=1e-20)).clamp(min=1e-20).log()


def delta_phi(first: Tensor, second: Tensor) -> Tensor:
    """Difference of two azimuths, in [-pi, pi)."""
    return torch.remainder(first - second + math.pi, 2 * math.pi) - math.pi


def delta_r(first: Tensor, second: Tensor) -> Tensor:
    """Distance in pseudorapidity and azimuth between two broadcastable sets of four-vectors."""
    return ((eta(first) - eta(second)).square() + delta_phi(phi(first), phi(second)).square()).sqrt()


def kt(vectors: Tensor, coordinates: Tensor) -> Tensor:
    """Transverse momentum with respect to the jet axis, pT * deltaR, in GeV.

    Args:
        vectors: (..., 4).
        coordinates: (..., 2) deta and dphi relative to the jet axis.
    """
    return pt(vectors) * _wide(coordinates).square().sum(-1).sqrt()


def _particle_terms(vectors: Tensor) -> Tensor:
    """(..., 7): pT, rapidity, phi, px, py, pz, E."""
    angles = torch.stack([pt(vectors), rapidity(vectors), phi(vectors)], -1)
    return torch.cat([angles, _wide(vectors)], -1)


def _pair_terms(first: Tensor, second: Tensor) -> Tensor:
    """(..., 4) pair features from two broadcastable outputs of :func:`_particle_terms`."""
    pt_1, rapidity_1, phi_1 = first[..., :3].unbind(-1)
    pt_2, rapidity_2, phi_2 = second[..., :3].unbind(-1)
    distance = ((rapidity_1 - rapidity_2).square() + delta_phi(phi_1, phi_2).square()).sqrt()
    softer = torch.minimum(pt_1, pt_2)
    px, py, pz, energy = (first[..., 3:] + second[..., 3:]).unbind(-1)
    features = (
        softer * distance,
        softer / (pt_1 + pt_2).clamp(min=FLOOR),
        distance,
        energy.square() - (px.square() + py.square() + pz.square()),
    )
    # Each in one piece of memory.
    return torch.stack(features).clamp_(min=FLOOR).log_().movedim(0, -1)


@torch.no_grad()
def pair_features(vectors: Tensor) -> Tensor:
    """All pairs: (..., N, 4) four-vectors to (..., N, N, 4) of ln kT, ln z, ln Delta, ln m2.

    ParT, arXiv:2202.03772, eq. 3, in the order of the author code: kT = min(pT) Delta, z = min(pT) / (pT + pT'),
    Delta the distance in *rapidity* and azimuth, m2 the squared invariant mass; each at least 1e-8 before the
    logarithm. Symmetric; the diagonal is included.
    """
    terms = _particle_terms(vectors)
    return _pair_terms(terms[..., :, None, :], terms[..., None, :, :])


@torch.no_grad()
def listed_pair_features(vectors: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Features of the listed pairs only.

    Args:
        vectors: (M, 4), particles of all jets in one row.
        first, second: integer tensors of one shape, rows of ``vectors``.

    Returns:
        their shape plus (4,), as in :func:`pair_features`.
    """
    terms = _particle_terms(vectors)
    return _pair_terms(terms[first], terms[second])
