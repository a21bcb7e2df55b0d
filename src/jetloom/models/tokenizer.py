"""What every tokenizer is: from the particles of a jet to codes, and from codes back to particles.

A particle is (ln pT - 1.8, 3 deta, 3 dphi), pT in GeV, angles to the vector sum of the particles (arXiv:2403.05618).
Its mass is forgotten. Particles at 0.8 or more from the axis in either angle are dropped, as are those without
momentum.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.packing import vectors_of
from jetloom.models.layers.readout import mean_of_real
from jetloom.models.network import Encoded, Network

SHIFT, ANGLE = 1.8, 3.0
"""Taken from ln pT; multiplies angles."""
WIDEST = 0.8
"""Largest angle to the axis."""
HIGHEST, LOWEST = 1e4, -20.0
"""GeV, and ln(GeV): ends of a decoded pT."""
SAMPLE, PER_CODE = 100_000, 8
"""Particles that a codebook starts from: at least so many, and so many for each code."""


class Particles(NamedTuple):
    """Particles as tokenizers read them."""

    values: Tensor
    """(B, N, 3) float32; zero where they are not kept."""
    kept: Tensor
    """(B, N) bool: real, near enough to the axis, and with momentum."""


class Reconstruction(NamedTuple):
    """Jets through a codebook and back."""

    given: Particles
    code: Tensor
    """(B, N) int64; 0 where not kept."""
    values: Tensor
    """(B, N, 3): what the codes stand for."""
    held: Tensor
    """(B, N, d): entries of the codebook, with gradients as if they were what they stand for."""
    latent: Tensor | None
    """(B, N, d) of the particles, before the codebook; None: it holds particles themselves."""
    chosen: Tensor | None
    """(B, N, d) entries of the codebook that are nearest to them; None likewise."""


def axis(vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1) pseudorapidity and azimuth of the vector sum of particles (B, N, 4) with mask (B, N)."""
    total = vectors.float().masked_fill(~mask[..., None], 0.0).sum(1, keepdim=True)
    return kinematics.eta(total), kinematics.phi(total)


def particles_of(batch: Batch) -> Particles:
    """The particles of a batch, from its four-vectors."""
    vectors = vectors_of(batch).float().masked_fill(~batch.mask[..., None], 0.0)
    eta, phi = axis(vectors, batch.mask)
    pt = kinematics.pt(vectors)
    deta, dphi = kinematics.eta(vectors) - eta, kinematics.delta_phi(kinematics.phi(vectors), phi)
    kept = batch.mask & (deta.abs() < WIDEST) & (dphi.abs() < WIDEST) & (pt > 0)
    values = torch.stack([pt.clamp(min=1e-20).log() - SHIFT, ANGLE * deta, ANGLE * dphi], -1)
    return Particles(values.masked_fill(~kept[..., None], 0.0), kept)


def vectors_from(values: Tensor, eta: Tensor, phi: Tensor) -> Tensor:
    """(B, N, 4) massless four-vectors in GeV from values (B, N, 3) and the axis (B, 1)."""
    pt = (values[..., 0] + SHIFT).clamp(min=LOWEST).exp().clamp(max=HIGHEST)
    eta, phi = values[..., 1] / ANGLE + eta, values[..., 2] / ANGLE + phi
    momentum = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()], -1)
    return torch.cat([momentum, (pt * eta.cosh())[..., None]], -1)


class Tokenizer(Network):
    """A network that says a code of each particle. As an encoder it gives what the codes hold.

    Args:
        width: of an entry of the codebook.
        n_classes: of the head that it has as an encoder of jets.
        codes: K.

    Raises:
        JetloomError: fewer than two codes.
    """

    def __init__(self, width: int, n_classes: int, codes: int) -> None:
        super().__init__(width, width)
        if codes < 2:
            raise JetloomError(f"codes: expected at least 2, got {codes}")
        self.codes = codes
        self.head: nn.Module = nn.Linear(width, n_classes)

    def begin(self, jets: Iterable[Batch]) -> None:
        """Start the codebook from the first of some jets.

        Raises:
            JetloomError: there are fewer particles than codes.
        """
        parts: list[Tensor] = []
        for batch in jets:
            parts.append(self.entries_of(batch))
            if sum(map(len, parts)) >= max(SAMPLE, PER_CODE * self.codes):
                break
        number = sum(map(len, parts))
        if number < self.codes:
            raise JetloomError(
                f"codes: {self.codes} codes, but the training split has {number} particles to start from"
            )
        self.start(torch.cat(parts))

    def entries_of(self, batch: Batch) -> Tensor:
        """(n, d): where in the space of the codebook the n kept particles of a batch are."""
        raise NotImplementedError

    def start(self, entries: Tensor) -> None:
        """Start the codebook from (n, d)."""
        raise NotImplementedError

    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Codes of a batch and what they stand for."""
        raise NotImplementedError

    def held(self, code: Tensor) -> Tensor:
        """Entries of the codebook (..., d) of codes (...)."""
        raise NotImplementedError

    def decode(self, code: Tensor, kept: Tensor) -> Tensor:
        """(B, N, 3) what codes (B, N) of a jet with particles (B, N) stand for; zero where there is none."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> Encoded:
        """Entries of the codebook; ``jet`` is their mean."""
        found = self.reconstruct(batch)
        held = found.held.masked_fill(~found.given.kept[..., None], 0.0)
        return Encoded(held, found.given.kept, mean_of_real(held, found.given.kept))
