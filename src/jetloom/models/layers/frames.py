"""A local frame for each particle (LLoCa, arXiv:2505.20280): a Lorentz transformation made of the jet's momenta.

Four-vectors are E, px, py, pz here, as in the paper; square means E^2 - p^2. Momenta, pair masses and transformations
are float64: they cancel. A network of pairs of items predicts three vectors V^k for each particle i,

1. e_ij = (ln (p_i + p_j)^2 - mu) / sigma;
2. w_ij^k = softmax over j != i of MLP(s_i, s_j, e_ij);
3. V_i^k = sum_j w_ij^k (p_i + p_j) / |p_i + p_j|, all three over |sum_k (V_i^k)^2|^(1/2);

the first is timelike, so that there is a boost B to its rest frame, and the other two, seen from there, span a
rotation R:

4. L = R B, from the global frame to the local one. L^-1 = g L^T g.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.fast import frames as kernel
from jetloom.models.fast import values_known, waits
from jetloom.models.layers.attention import CLOSED
from jetloom.models.layers.constants import constants

METRIC = (1.0, -1.0, -1.0, -1.0)
"""Signs of E, px, py, pz in the product."""
VECTORS = 3
SMALLEST_SQUARE = 1e-10
"""Of a pair, before the logarithm in (1); also 1 - beta^2 and the energy of what is boosted."""
SMALLEST_MASS = 1e-6
"""|p_i + p_j| in (3)."""
SMALLEST_NORM = 1e-5
"""|sum_k (V_i^k)^2|^(1/2) in (3)."""
LIGHTLIKE = torch.finfo(torch.float64).eps
"""Square of a vector below which it has no rest frame."""
COLLINEAR = 1e-10
"""|r_1 x r_2| over the longer of both below which they span no plane: rounding then turns it by a millionth."""


def square(x: Tensor) -> Tensor:
    """E^2 - p^2 of (..., 4)."""
    return x[..., 0].square() - x[..., 1:].square().sum(-1)


class FrameNetwork(nn.Module):
    """V^k of (3).

    mu and sigma are mean and standard deviation over all ordered pairs of the first batch in training; until then 0 and
    1. They are saved with the weights.

    Args:
        scalars: S, numbers of each item that its frame may depend on.
        width, layers: hidden ones of the MLP.
    """

    mean: Tensor
    deviation: Tensor
    measured: Tensor

    def __init__(self, scalars: int, width: int, layers: int) -> None:
        super().__init__()
        inner = [module for _ in range(layers - 1) for module in (nn.Linear(width, width), nn.GELU())]
        self.network = nn.Sequential(nn.Linear(2 * scalars + 1, width), nn.GELU(), *inner, nn.Linear(width, VECTORS))
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("deviation", torch.tensor(1.0))
        self.register_buffer("measured", torch.tensor(0))
        # What the host knows without asking a GPU.
        self.known = False

    def forward(self, momenta: Tensor, scalars: Tensor, mask: Tensor, references: int) -> Tensor:
        """V of each particle.

        Args:
            momenta: (B, M, 4) float64, of references and particles.
            scalars: (B, M, S), finite.
            mask: (B, M).
            references: how many of the items, in front, are no particles; they get no frame.

        Returns:
            (n, 3, 4) float64 of particles, packed as of their mask; zeros of an item that is alone.
        """
        if self.training and not (values_known() and self.known):
            self.measure(momenta, mask)
            # A batch without a pair has measured nothing; a GPU is not asked.
            self.known = values_known() and (waits(mask) or bool(self.measured))
        first = self.network[0]
        assert isinstance(first, nn.Linear)
        number = scalars.shape[-1]
        to_own, to_other, to_mass = first.weight.split([number, number, 1], 1)
        own = functional.linear(scalars[:, references:], to_own, first.bias)
        other = functional.linear(scalars, to_other)
        vectors: Tensor
        if kernel.serves(mask):
            vectors = kernel.sum_over_others(self.weigh, to_mass[:, 0], own, other, momenta, mask, self.pairs)
        else:
            vectors = self.sum_over_others(to_mass[:, 0], own, other, momenta, mask)
        norm = square(vectors).sum(-1).abs()
        return vectors / norm.clamp(min=SMALLEST_NORM**2).sqrt()[:, None, None]

    def pairs(self, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """(p_i + p_j) / |p_i + p_j| (..., 4) and e_ij (...,) of (1), of momenta (..., 4)."""
        together = own + other
        mass2 = square(together)
        masses = (mass2.clamp(min=SMALLEST_SQUARE).log() - self.mean) / self.deviation
        return together / mass2.abs().sqrt().clamp(min=SMALLEST_MASS)[..., None], masses

    def weigh(self, x: Tensor) -> Tensor:
        """What follows behind the first layer: (..., h) to the logarithms of w, (..., 3)."""
        for layer in list(self.network)[1:]:
            x = layer(x)
        return x

    def sum_over_others(self, to_mass: Tensor, own: Tensor, other: Tensor, momenta: Tensor, mask: Tensor) -> Tensor:
        """The sum in (3) over all slots, (B N, 3, 4)."""
        references = other.shape[1] - own.shape[1]
        directions, masses = self.pairs(momenta[:, references:, None], momenta[:, None])
        x = own[:, :, None] + other[:, None] + masses[..., None].to(own.dtype) * to_mass
        itself = torch.eye(other.shape[1], dtype=torch.bool, device=mask.device)[references:]
        closed = (itself | ~mask[:, None])[..., None]
        weights = self.weigh(x).to(momenta.dtype).masked_fill(closed, CLOSED).softmax(2).masked_fill(closed, 0.0)
        return torch.einsum("bijk,bijv->bikv", weights, directions).flatten(0, 1)

    @torch.no_grad()
    def measure(self, momenta: Tensor, mask: Tensor) -> None:
        """mu and sigma of these items, where they are not known yet."""
        logarithms = square(momenta[:, :, None] + momenta[:, None]).clamp(min=SMALLEST_SQUARE).log()
        itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        weight = (mask[:, :, None] & mask[:, None] & ~itself).to(logarithms.dtype)
        number = weight.sum()
        mean = (logarithms * weight).sum() / number.clamp(min=1)
        variance = ((logarithms - mean).square() * weight).sum() / (number - 1).clamp(min=1)
        new = (self.measured == 0) & (number > 1)
        self.mean.copy_(torch.where(new, mean.to(self.mean.dtype), self.mean))
        deviation = variance.sqrt().clamp(min=1e-5).to(self.mean.dtype)
        self.deviation.copy_(torch.where(new, deviation, self.deviation))
        self.measured.add_(new.long())


def frames(vectors: Tensor) -> Tensor:
    """L of (4).

    The package adds random numbers to vectors that are lightlike or span no plane; here a vector without a rest frame
    gets a little energy, and coordinate axes stand in for what spans no plane, so that an answer is always the same.

    Args:
        vectors: (n, 3, 4), of which the first is timelike.

    Returns:
        (n, 4, 4); the identity where all vectors are zero.
    """
    boosted, *others = vectors.unbind(1)
    matrices = boost(boosted)
    first, second = ((matrices[:, 1:] @ x[..., None])[..., 0] for x in others)
    return torch.cat([matrices[:, :1], rotation(first, second) @ matrices[:, 1:]], 1)


def boost(vectors: Tensor) -> Tensor:
    """B, the boost to the rest frame of timelike (n, 4), as matrices (n, 4, 4)."""
    light = square(vectors).abs() < LIGHTLIKE
    energy = vectors[:, 0] + light * LIGHTLIKE
    beta = vectors[:, 1:] / energy.clamp(min=SMALLEST_SQUARE)[:, None]
    gamma = (1 - beta.square().sum(-1)).clamp(min=SMALLEST_SQUARE).rsqrt()
    moved = gamma[:, None] * beta
    # (gamma - 1) / beta^2 = gamma^2 / (1 + gamma), which is no 0 / 0 at rest.
    stretched = moved[:, :, None] * moved[:, None] / (1 + gamma)[:, None, None]
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    upper = torch.cat([gamma[:, None], -moved], 1)
    return torch.cat([upper[:, None], torch.cat([-moved[:, :, None], eye + stretched], 2)], 1)


def rotation(first: Tensor, second: Tensor) -> Tensor:
    """R of (4) by Gram-Schmidt: rows e_0 along r_1, e_1 in the plane of both, e_2 = e_0 x e_1; (n, 3) to (n, 3, 3)."""
    axes = torch.eye(3, dtype=first.dtype, device=first.device)
    size, other = (x.square().sum(-1, keepdim=True) for x in (first, second))
    area = torch.linalg.cross(first, second).square().sum(-1, keepdim=True)
    flat = area <= COLLINEAR**2 * torch.maximum(size, other)
    e0 = unit(torch.where(flat & (size < COLLINEAR**2), axes[0], first))
    aside = torch.where(e0[:, 1:2].abs() < 0.8, axes[1], axes[2])
    second = unit(torch.where(flat, aside, second))
    e1 = unit(second - (second * e0).sum(-1, keepdim=True) * e0)
    return torch.stack([e0, e1, torch.linalg.cross(e0, e1)], 1)


def unit(x: Tensor) -> Tensor:
    """x / |x| of (n, 3)."""
    return x / x.square().sum(-1, keepdim=True).sqrt()


def inverse(matrices: Tensor) -> Tensor:
    """L^-1 = g L^T g of (..., 4, 4)."""
    metric = constants(METRIC, matrices)
    return metric[:, None] * matrices.mT * metric
