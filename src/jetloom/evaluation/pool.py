"""Particles from which jets of any length are drawn, to time a network or to trace it: real ones, or made up."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader


class Pool(NamedTuple):
    """Real particles of the data set, from which inputs of any length are drawn."""

    features: Tensor
    vectors: Tensor | None
    coordinates: Tensor

    def batch(self, jets: int, particles: int, device: torch.device | str = "cpu") -> Batch:
        """``jets`` full jets of ``particles`` particles each, the same ones at every call."""
        generator = torch.Generator().manual_seed(jets * 100_003 + particles)
        chosen = torch.randint(len(self.features), (jets, particles), generator=generator)
        return Batch(
            self.features[chosen].to(device),
            self.vectors[chosen].to(device) if self.vectors is not None else None,
            self.coordinates[chosen].to(device),
            torch.ones(jets, particles, dtype=torch.bool, device=device),
        )


def read_pool(manifest: Path, described: Manifest) -> Pool:
    """Real particles of the first jets of the data set."""
    split = "test" if "test" in described.splits else next(iter(described.splits))
    batch = next(iter(Loader(manifest, split, batch_size=128, shuffle=False)))
    return Pool(
        batch.features[batch.mask],
        batch.vectors[batch.mask] if batch.vectors is not None else None,
        batch.coordinates[batch.mask],
    )


def made_up_pool(n_features: int, kind: str, particles: int = 2000) -> Pool:
    """Particles as they could be: falling pT, spread around the jet axis; or points in a ball, or codes."""
    generator = torch.Generator().manual_seed(1)
    if kind == "tokens":
        codes = torch.randint(n_features, (particles, 1), generator=generator, dtype=torch.int16)
        return Pool(codes, None, torch.empty(particles, 0))
    features = torch.randn(particles, n_features, generator=generator)
    if kind == "points":
        return Pool(features, None, features[:, :3].clone() / 3)
    pt = torch.empty(particles).exponential_(0.1, generator=generator) + 0.5
    coordinates = 0.2 * torch.randn(particles, 2, generator=generator)
    eta, phi = coordinates.unbind(1)
    px, py, pz = pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()
    energy = (px**2 + py**2 + pz**2 + 0.14**2).sqrt()
    return Pool(features, torch.stack([px, py, pz, energy], dim=1), coordinates)
