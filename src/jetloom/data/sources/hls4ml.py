"""hls4ml LHC jets, up to 150 particles (Zenodo 3602260): a directory of HDF5 files ``jetImage_<k>_150p_<a>_<b>.h5``.

Columns are found by the names that each file carries, not by their position.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import awkward
import h5py
import numpy as np

from jetloom.config import Dataset
from jetloom.data.axes import wrapped
from jetloom.data.sources.hdf5 import opened, stored
from jetloom.data.sources.padded import affordable, class_index, jagged, refuse
from jetloom.errors import JetloomError

# Class -> name of its column.
LABELS = {"gluon": "j_g", "quark": "j_q", "W": "j_w", "Z": "j_z", "top": "j_t"}
PARTICLE = ["j1_px", "j1_py", "j1_pz", "j1_e", "j1_pt", "j1_etarel", "j1_phi", "j1_phirel"]
JET = ["j_pt", "j_eta", "j_mass"]
KEYS = {"jetConstituentList": 3, "jets": 2, "particleFeatureNames": 1, "jetFeatureNames": 1}
MOST_NAMES, LONGEST_NAME = 1000, 100


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream the jets of all files of a directory, in the order of the numbers in their names.

    ``part_deta`` and ``part_dphi`` are the published ``etarel`` and ``phirel``.

    Args:
        raw: directory, or one of the files.
        dataset: names the classes that count.
        size: jets per chunk.

    Raises:
        JetloomError: no files, not HDF5, a missing key or column, no jets, a jet that has not one label or no
            particles, NaN or infinity in a particle, or an array that is in another file.
    """
    files = [raw] if raw.is_file() else sorted(raw.glob("*.h5"), key=_number)
    if not files:
        raise JetloomError(f"{raw}: no HDF5 files; expected jetImage_0_150p_0_10000.h5 and so on")
    for path in files:
        with opened(path) as file:
            yield from _read(path, file, dataset, size)


def _number(path: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", path.stem)], path.name


def _read(path: Path, file: h5py.File, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    arrays: dict[str, h5py.Dataset] = {}
    for key, dimensions in KEYS.items():
        if key not in file:
            raise JetloomError(f"{path}: no key {key!r}; found: {', '.join(file) or 'nothing'}; fetch it again")
        array = stored(path, file, key)
        if array is None or array.ndim != dimensions:
            raise JetloomError(f"{path}: {key!r} is no array of {dimensions} dimensions; fetch it again")
        arrays[key] = array
    particles, jets = arrays["jetConstituentList"], arrays["jets"]
    if len(particles) != len(jets) or not len(jets):
        raise JetloomError(
            f"{path}: {len(particles)} lists of particles for {len(jets)} jets; expected as many, not 0; fetch it again"
        )
    if particles.dtype.kind not in "fiu" or jets.dtype.kind not in "fiu":
        raise JetloomError(
            f"{path}: particles are {particles.dtype}, jets {jets.dtype}; expected numbers; fetch it again"
        )
    size = affordable(path, (particles.nbytes + jets.nbytes) // len(jets), size)
    column = _columns(path, file, "particleFeatureNames", PARTICLE, particles.shape[2])
    jet_column = _columns(path, file, "jetFeatureNames", [*JET, *LABELS.values()], jets.shape[1])
    index = class_index(list(LABELS), dataset.classes)
    for first in range(0, len(jets), size):
        block = particles[first : first + size]
        rows = jets[first : first + size]
        part = {name: block[..., position] for name, position in column.items()}
        jet = {name: rows[:, position].astype(float) for name, position in jet_column.items()}
        label = np.stack([jet[name] for name in LABELS.values()], axis=1) != 0
        refuse(path, label.sum(axis=1) != 1, first, f"not exactly one of {', '.join(LABELS.values())} is set")
        # NaN is not padding: it has to be found.
        real = ~(part["j1_pt"] <= 0)
        refuse(path, ~real.any(axis=1), first, "no particles")
        hardest = (np.arange(len(rows)), np.where(real, part["j1_pt"], -np.inf).argmax(axis=1))
        turned = part["j1_phi"][hardest].astype(float) - part["j1_phirel"][hardest]
        summary = {
            "jet_pt": jet["j_pt"],
            "jet_eta": jet["j_eta"],
            # The file has no phi of the jet, but that of a particle and their difference.
            "jet_phi": wrapped(turned),
            "jet_energy": np.hypot(jet["j_pt"] * np.cosh(jet["j_eta"]), jet["j_mass"]),
        }
        refuse(path, ~np.isfinite(np.stack(list(summary.values()))).all(axis=0), first, "the jet is not finite")
        yield jagged(
            path,
            first,
            np.stack([part[name] for name in PARTICLE[:4]], axis=-1),
            real,
            index[label.argmax(axis=1)],
            particle={"part_deta": part["j1_etarel"], "part_dphi": part["j1_phirel"]},
            jet=summary,
        )


def _columns(path: Path, file: h5py.File, key: str, wanted: list[str], width: int) -> dict[str, int]:
    if len(file[key]) > MOST_NAMES:
        raise JetloomError(f"{path}: {key!r} holds {len(file[key])} names; expected at most {MOST_NAMES}")
    # One by one: in a small file thousands of names may be the same enormous text.
    names = [_name(path, key, file[key][place]) for place in range(len(file[key]))]
    # One more name than columns is usual: pdgid is named and not stored.
    present = {name: position for position, name in enumerate(names) if position < width}
    if missing := [name for name in wanted if name not in present]:
        raise JetloomError(
            f"{path}: no column {', '.join(missing)} among {key}; found: {', '.join(names)}; fetch it again"
        )
    return {name: present[name] for name in wanted}


def _name(path: Path, key: str, name: object) -> str:
    text = name.decode() if isinstance(name, bytes) else name
    if not isinstance(text, str) or len(text) > LONGEST_NAME:
        raise JetloomError(f"{path}: {key!r} holds what is no name of a column; fetch it again")
    return text
