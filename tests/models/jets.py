"""Random jets and point clouds for the tests of the models: features, four-vectors and coordinates fit together."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from jetloom.batch import Batch


def four_vectors(pt: Tensor, eta: Tensor, phi: Tensor, mass: Tensor | float = 0.0) -> Tensor:
    """(..., 4) px, py, pz, E from pT, pseudorapidity, azimuth and mass."""
    momentum = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()], -1)
    energy = (momentum.square().sum(-1) + mass**2).sqrt()
    return torch.cat([momentum, energy[..., None]], -1)


def batch_of(vectors: Tensor, mask: Tensor, n_features: int = 17, n_classes: int = 10, seed: int = 0) -> Batch:
    """A batch whose ``kin`` features (in front) and coordinates follow from the four-vectors; zeros where padded.

    With more than seven features the others are random, as particle identification and impact parameters would be.
    """
    generator = torch.Generator().manual_seed(seed)
    px, py, pz, energy = vectors.double().masked_fill(~mask[..., None], 1.0).unbind(-1)
    pt = torch.hypot(px, py).clamp(min=1e-9)
    eta, phi = torch.asinh(pz / pt), torch.atan2(py, px)
    jet_x, jet_y, jet_z, jet_energy = (vectors.double() * mask[..., None]).sum(1).unbind(-1)
    jet_pt = torch.hypot(jet_x, jet_y).clamp(min=1e-9)
    deta = (eta - torch.asinh(jet_z / jet_pt)[:, None]).clamp(-5, 5)
    dphi = (phi - torch.atan2(jet_y, jet_x)[:, None] + math.pi) % (2 * math.pi) - math.pi
    energy = energy.clamp(min=1e-9)
    kin = [
        (pt.log() - 1.7) * 0.7,
        (energy.log() - 2.0) * 0.7,
        ((pt / jet_pt[:, None]).log() + 4.7) * 0.7,
        ((energy / jet_energy.clamp(min=1e-9)[:, None]).log() + 4.7) * 0.7,
        (torch.hypot(deta, dphi) - 0.2) * 4,
    ]
    extra = torch.randn(*mask.shape, max(0, n_features - 7), generator=generator, dtype=torch.float64)
    features = torch.cat([torch.stack(kin, -1).clamp(-5, 5), extra, torch.stack([deta, dphi], -1)], -1)
    real = mask[..., None]
    return Batch(
        features=(features[..., :n_features] * real).float(),
        vectors=(vectors * real).float(),
        coordinates=(torch.stack([deta, dphi], -1) * real).float(),
        mask=mask,
        label=torch.randint(n_classes, (len(mask),), generator=generator),
    )


def random_jets(
    jets: int = 4,
    particles: int = 24,
    *,
    n_features: int = 17,
    n_classes: int = 10,
    shortest: int = 5,
    full: bool = False,
    seed: int = 0,
) -> Batch:
    """Jets of a few hundred GeV, particles sorted by descending pT, of varied number (the first jet is full).

    Args:
        jets: B.
        particles: padded width N.
        n_features: 7, 13 or 17 (or any number).
        n_classes: labels are drawn from so many.
        shortest: fewest particles of a jet.
        full: every jet has ``particles`` particles.
        seed: same seed, same jets.
    """
    generator = torch.Generator().manual_seed(seed)
    pt = torch.rand(jets, particles, generator=generator).mul(5).exp().sort(1, descending=True).values
    jet_eta = torch.empty(jets, 1).uniform_(-2, 2, generator=generator)
    jet_phi = torch.empty(jets, 1).uniform_(-math.pi, math.pi, generator=generator)
    offset = 0.25 * torch.randn(2, jets, particles, generator=generator)
    mass = torch.tensor([0.0, 0.14, 0.49])[torch.randint(3, (jets, particles), generator=generator)]
    number = torch.randint(shortest, particles + 1, (jets,), generator=generator)
    number[0] = particles
    if full:
        number[:] = particles
    mask = torch.arange(particles) < number[:, None]
    vectors = four_vectors(pt, jet_eta + offset[0], jet_phi + offset[1], mass)
    return batch_of(vectors, mask, n_features, n_classes, seed)


def tower_jets(
    jets: int = 6, particles: int = 41, *, n_features: int = 7, n_classes: int = 10, full: bool = False, seed: int = 0
) -> Batch:
    """Jets like those of the top tagging reference, whose massless particles are mostly towers of a calorimeter.

    Towers share places: exactly, or to the rounding of their four-vectors. Of those with equal momenta some differ in
    nothing. The first jet is full, the second has one particle, the third two (where jets are not ``full``).

    Args:
        jets, particles, n_features, n_classes, full, seed: as in :func:`random_jets`.
    """
    generator = torch.Generator().manual_seed(seed)
    pt = torch.rand(jets, particles, generator=generator).mul(5).exp().sort(1, descending=True).values
    place = 0.25 * torch.randn(2, jets, particles, generator=generator)
    place[0] += torch.empty(jets, 1).uniform_(-1.5, 1.5, generator=generator)
    place[1] += torch.empty(jets, 1).uniform_(-math.pi, math.pi, generator=generator)
    size = torch.tensor([0.1, math.pi / 36])[:, None, None]
    towers = torch.rand(jets, particles, generator=generator) < 0.7
    place = torch.where(towers, (place / size).floor() * size + size / 2, place)
    # Neighbours in pT with one direction and powers of two between their momenta: places equal to the last bit.
    twin = 1 + 3 * torch.arange((particles - 1) // 3)
    place[:, :, twin] = place[:, :, twin - 1]
    pt[:, twin] = pt[:, twin - 1]
    pt[:, twin[::2]] /= 2
    number = torch.randint(3, particles + 1, (jets,), generator=generator)
    number[:3] = torch.tensor([particles, 1, 2])[:jets]
    if full:
        number[:] = particles
    mask = torch.arange(particles) < number[:, None]
    return batch_of(four_vectors(pt, *place), mask, n_features, n_classes, seed)


def random_points(clouds: int = 4, points: int = 64, *, n_classes: int = 10, seed: int = 0) -> Batch:
    """Point clouds in the unit ball: features are the coordinates, every point is real."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(clouds, points, 3, generator=generator), dim=-1)
    xyz = direction * torch.rand(clouds, points, 1, generator=generator) * torch.tensor([1.0, 0.7, 0.4])
    label = torch.randint(n_classes, (clouds,), generator=generator)
    return Batch(xyz, None, xyz.clone(), torch.ones(clouds, points, dtype=torch.bool), label)


def random_tokens(jets: int = 4, particles: int = 24, *, codes: int = 40, n_classes: int = 10, seed: int = 0) -> Batch:
    """Jets as codes, of varied number (the first one is full, the second has one)."""
    generator = torch.Generator().manual_seed(seed)
    number = torch.randint(1, particles + 1, (jets,), generator=generator)
    number[:2] = torch.tensor([particles, 1])[:jets]
    mask = torch.arange(particles) < number[:, None]
    code = torch.randint(codes, (jets, particles, 1), generator=generator, dtype=torch.int16)
    label = torch.randint(n_classes, (jets,), generator=generator)
    return Batch(code.masked_fill(~mask[..., None], 0), None, torch.zeros(jets, particles, 0), mask, label)


def _per_particle(batch: Batch, function) -> Batch:  # type: ignore[no-untyped-def]
    vectors = None if batch.vectors is None else function(batch.vectors)
    return Batch(function(batch.features), vectors, function(batch.coordinates), function(batch.mask), batch.label)


def resized(batch: Batch, width: int) -> Batch:
    """The same jets padded to another width; slots beyond it must be empty."""
    assert not batch.mask[:, width:].any()

    def resize(x: Tensor) -> Tensor:
        shape = (x.shape[0], max(0, width - x.shape[1]), *x.shape[2:])
        return torch.cat([x[:, :width], x.new_zeros(shape)], 1)

    return _per_particle(batch, resize)


def joined(batches: Iterable[Batch]) -> Batch:
    """The jets of several batches of one width."""
    return Batch(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*batches, strict=True)))


def with_padding(batch: Batch, value: float) -> Batch:
    """The same jets with ``value`` in every padded slot."""

    def fill(x: Tensor) -> Tensor:
        if x.dtype == torch.bool:
            return x
        # Of codes any number will do that is none.
        return x.masked_fill(~batch.mask[..., None], value if x.is_floating_point() else -12_345)

    return _per_particle(batch, fill)


def permuted(batch: Batch, seed: int = 0) -> Batch:
    """The same jets, the real particles of each in another order; padding stays behind."""
    generator = torch.Generator().manual_seed(seed)
    key = torch.rand(batch.mask.shape, generator=generator).masked_fill(~batch.mask, 2.0)
    order = key.argsort(1)

    def permute(x: Tensor) -> Tensor:
        index = order.reshape(*order.shape, *[1] * (x.dim() - 2)).expand(x.shape)
        return x.gather(1, index)

    return _per_particle(batch, permute)


def extreme_jets(particles: int = 24, *, n_features: int = 17) -> dict[str, Batch]:
    """Jets that break careless arithmetic, four of each kind."""
    generator = torch.Generator().manual_seed(3)
    scale = 1 + torch.rand(4, particles, 1, generator=generator)
    pion = four_vectors(torch.tensor(30.0), torch.tensor(0.3), torch.tensor(0.5), 0.14)
    photon = four_vectors(torch.tensor(30.0), torch.tensor(-1.3), torch.tensor(3.1))
    beam = torch.tensor([0.0, 0.0, 50.0, 50.0])
    full = torch.ones(4, particles, dtype=torch.bool)
    directions = torch.rand(2, 4, particles, generator=generator)
    light_like = four_vectors(5 + 20 * directions[0], 2 * directions[1] - 1, 6 * directions[0])
    along_beam = beam * torch.tensor([1.0, 1.0, -1.0, 1.0]) * scale
    kinds = {
        "one particle": (light_like, full & (torch.arange(particles) == 0)),
        "two particles": (light_like, full & (torch.arange(particles) < 2)),
        "identical": (pion.expand(4, particles, 4), full),
        "collinear": (pion * scale, full),
        "collinear photons": (photon * scale, full),
        "massless": (light_like, full),
        "along the beam": (along_beam, full),
        "zero energy": (torch.zeros(4, particles, 4), full),
    }
    return {name: batch_of(vectors, mask, n_features) for name, (vectors, mask) in kinds.items()}
