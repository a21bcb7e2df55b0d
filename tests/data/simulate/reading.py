"""What the tests read from simulated files."""

import hashlib
from pathlib import Path

import awkward
import numpy
import uproot


def content_hash(path: Path) -> str:
    """SHA-256 of all arrays of a file; the bytes of ROOT files differ by time stamp and UUID."""
    digest = hashlib.sha256()
    with uproot.open(path) as file:
        for name, branch in sorted(file["tree"].items()):
            array = branch.array()
            if array.ndim > 1:
                digest.update(awkward.to_numpy(awkward.num(array)).tobytes())
                array = awkward.flatten(array)
            digest.update(name.encode() + awkward.to_numpy(array).tobytes())
    return digest.hexdigest()


def observables(jets: awkward.Array) -> dict[str, numpy.ndarray]:
    """The observables of jetclass_reference.json; at most 128 particles, as in the public samples."""
    parts = {name: jets[f"part_{name}"][:, :128] for name in ("px", "py", "pz", "energy", "deta", "dphi")}
    pt = numpy.hypot(parts["px"], parts["py"])
    distance = numpy.hypot(parts["deta"], parts["dphi"])
    total = awkward.sum(pt, axis=1)
    px, py, pz, energy = (
        awkward.to_numpy(awkward.sum(parts[name], axis=1, mask_identity=False)).astype(float)
        for name in ("px", "py", "pz", "energy")
    )
    columns = {
        "n_particles": awkward.num(pt),
        "jet_pt": numpy.hypot(px, py),
        "jet_mass": numpy.sqrt(numpy.maximum(energy**2 - px**2 - py**2 - pz**2, 0)),
        "leading_pt_fraction": awkward.max(pt, axis=1) / total,
        "girth": awkward.sum(pt * distance, axis=1) / total,
        "pt_dispersion": numpy.sqrt(awkward.sum(pt**2, axis=1)) / total,
        "log10_particle_pt": awkward.flatten(numpy.log10(pt)),
        "particle_deltaR": awkward.flatten(distance),
    }
    return {name: awkward.to_numpy(values) for name, values in columns.items()}
