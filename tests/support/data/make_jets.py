"""Random jets of particles, the common ground of the builders of the publishers' formats."""

import numpy as np


def particles(counts, seed=1, jet_pt=600.0):
    """Lists of particles around an axis: one (n, 4) array of pT, eta, phi, mass 0 for each jet, not sorted."""
    generator = np.random.default_rng(seed)
    jets = []
    for count in counts:
        axis = generator.uniform(-1.5, 1.5), generator.uniform(-np.pi, np.pi)
        share = generator.dirichlet(np.full(count, 0.7)) if count else np.empty(0)
        pt = 0.3 + jet_pt * share
        eta = axis[0] + generator.normal(0, 0.2, count)
        phi = (axis[1] + generator.normal(0, 0.2, count) + np.pi) % (2 * np.pi) - np.pi
        jets.append(np.stack([pt, eta, phi, np.zeros(count)], axis=1))
    return jets


def momenta(jet):
    """px, py, pz, E of massless particles, (n, 4)."""
    pt, eta, phi, _ = jet.T
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=1)
