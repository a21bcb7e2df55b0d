"""Small JetClass files of random jets, right or wrong."""

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from jetloom.data.simulate.rootfile import JET_TYPES, PARTICLE_TYPES
from jetloom.data.sources.jetclass import LABELS


def columns(counts, label="QCD", seed=1):
    """All 41 branches of jets with so many particles each, in no order: jagged and flat arrays by name."""
    generator = np.random.default_rng(seed)
    counts = np.asarray(counts)
    total = int(counts.sum())
    pt, phi = generator.exponential(12, total) + 0.2, generator.uniform(-np.pi, np.pi, total)
    deta, dphi = generator.normal(0, 0.15, (2, total))
    jet_eta, jet_phi = generator.uniform(-2, 2, len(counts)), generator.uniform(-np.pi, np.pi, len(counts))
    eta = np.repeat(jet_eta, counts) + deta * np.sign(np.repeat(jet_eta, counts))
    phi = np.repeat(jet_phi, counts) + dphi
    kind = generator.integers(0, 5, total)
    charged = (kind != 1) & (kind != 2)
    flat = {
        "part_px": pt * np.cos(phi),
        "part_py": pt * np.sin(phi),
        "part_pz": pt * np.sinh(eta),
        "part_energy": pt * np.cosh(eta) * (1 + generator.exponential(0.01, total)),
        "part_deta": deta,
        "part_dphi": dphi,
        "part_d0val": generator.normal(0, 2, total) * charged,
        "part_d0err": generator.exponential(0.6, total) * charged,
        "part_dzval": generator.normal(0, 2, total) * charged,
        "part_dzerr": generator.exponential(0.6, total) * charged,
        "part_charge": generator.choice([-1.0, 1.0], total) * charged,
    }
    names = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
    flat |= {f"part_{name}": kind == index for index, name in enumerate(names)}
    jets = {name: generator.uniform(0, 1, len(counts)) for name in JET_TYPES if name.startswith(("jet_tau", "aux_"))}
    jets |= {
        "jet_pt": generator.uniform(500, 1000, len(counts)),
        "jet_eta": jet_eta,
        "jet_phi": jet_phi,
        "jet_sdmass": generator.uniform(0, 200, len(counts)),
        "jet_nparticles": counts,
    }
    jets["jet_energy"] = np.hypot(jets["jet_pt"] * np.cosh(jet_eta), 100.0)
    jets |= {f"label_{name}": np.full(len(counts), name == label) for name in LABELS}
    jagged = {name: ak.unflatten(flat[name].astype(PARTICLE_TYPES[name[5:]]), counts) for name in flat}
    return jagged | {name: np.asarray(jets[name]).astype(kind) for name, kind in JET_TYPES.items()}


def write(path: Path, branches, tree="tree", cluster=None) -> Path:
    """A ROOT file whose lists have a counter each, so that any of them may be left out, longer or of another type."""
    types = {name: ak.type(values).content if isinstance(values, ak.Array) else values.dtype
             for name, values in branches.items()}  # fmt: skip
    jets = len(next(iter(branches.values())))
    with uproot.recreate(path, compression=uproot.LZ4(4)) as file:
        written = file.mktree(tree, {name: str(kind) for name, kind in types.items()})
        for start in range(0, jets, cluster or max(jets, 1)):
            some = slice(start, start + (cluster or jets))
            written.extend({name: values[some] for name, values in branches.items()})
    return path


def make(path: Path, jets=60, label="QCD", seed=1, largest=60) -> Path:
    """A right file of one class."""
    counts = np.random.default_rng(seed + 1000).integers(1, largest + 1, jets)
    return write(path, columns(counts, label, seed))
