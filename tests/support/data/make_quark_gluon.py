"""Files of the EnergyFlow set: X (n, M, 4) = pT, rapidity, phi, PDG id, M the largest jet of the file; y (n,)."""

import numpy as np

from .make_jets import particles

IDS = [22, 211, -211, 321, -321, 130, 2112, -2112, 2212, -2212, 11, -11, 13, -13]


def arrays(counts, labels, seed=1):
    """X and y."""
    generator = np.random.default_rng(seed)
    values = np.zeros((len(counts), max(counts), 4))
    for row, jet in zip(values, particles(counts, seed, jet_pt=525.0), strict=True):
        # phi of a particle is within pi of its jet's, so it may exceed pi.
        row[: len(jet), :3] = jet[:, :3]
        row[: len(jet), 3] = generator.choice(IDS, len(jet))
    return values, np.asarray(labels, float)


def make(path, counts=(20, 30, 3, 45), labels=(0, 1, 0, 1), seed=1):
    """A small file."""
    values, target = arrays(counts, labels, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, X=values, y=target)
    return path
