"""Files of the hls4ml LHC jets: jetConstituentList (n, 150, 16), jets (n, 59), names (one of a column not stored)."""

import h5py
import numpy as np

from .make_jets import momenta, particles

PARTICLE_NAMES = [
    f"j1_{name}"
    for name in (
        *("px", "py", "pz", "e", "erel", "pt", "ptrel", "eta", "etarel", "etarot", "phi", "phirel", "phirot"),
        *("deltaR", "costheta", "costhetarel", "pdgid"),
    )
]
JET_NAMES = [
    *("j_ptfrac", "j_pt", "j_eta", "j_mass"),
    *(f"j_shape{number}" for number in range(49)),
    *("j_g", "j_q", "j_w", "j_z", "j_t", "j_undef"),
]


def arrays(counts, labels, seed=1):
    """Particles and jets; the jet is the sum of its particles."""
    assert len(JET_NAMES) == 59
    values = np.zeros((len(counts), 150, 16))
    jets = np.zeros((len(counts), 59))
    column = {name: position for position, name in enumerate(JET_NAMES)}
    for row, summary, jet, label in zip(values, jets, particles(counts, seed, 1000.0), labels, strict=True):
        jet = jet[np.argsort(-jet[:, 0])]
        vectors = momenta(jet)
        px, py, pz, energy = vectors.sum(axis=0)
        pt, phi = np.hypot(px, py), np.arctan2(py, px)
        eta = np.arcsinh(pz / pt) if pt else 0.0
        part = row[: len(jet)]
        part[:, :4] = vectors
        part[:, 5], part[:, 7], part[:, 10] = jet[:, 0], jet[:, 1], jet[:, 2]
        part[:, 8] = jet[:, 1] - eta
        part[:, 11] = (jet[:, 2] - phi + np.pi) % (2 * np.pi) - np.pi
        summary[column["j_pt"]], summary[column["j_eta"]] = pt, eta
        summary[column["j_mass"]] = np.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0))
        summary[column["j_g"] + label] = 1
    return values, jets


def write(path, values, jets):
    """As the publisher's, without the images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("jetConstituentList", data=values, compression="gzip")
        file.create_dataset("jets", data=jets)
        file["particleFeatureNames"] = np.array(PARTICLE_NAMES, dtype="S")
        file["jetFeatureNames"] = np.array(JET_NAMES, dtype="S")
    return path


def make(directory, files=(0, 6), counts=(20, 30, 3, 45, 150), labels=(0, 1, 2, 3, 4), seed=1):
    """A directory of small files, one for each first number."""
    for number in files:
        values, jets = arrays(counts, labels, seed + number)
        write(directory / f"jetImage_{number}_150p_0_10000.h5", values, jets)
    return directory
