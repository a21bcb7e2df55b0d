"""Quark and gluon jets of EnergyFlow (Zenodo 3164691, 3066475), NPZ.

X (n, M, 4) is (pT, rapidity, phi, PDG id) of zero-padded particles, y (n,) 0 for gluon and 1 for quark. As in the
benchmark of the ParticleNet and ParT papers the rapidity is taken for the pseudorapidity and particles are massless.
The PDG id gives the charge and the five flags.
"""

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import awkward
import numpy as np
from numpy.typing import NDArray

from jetloom.config import Dataset
from jetloom.data.sources.padded import affordable, class_index, jagged, refuse
from jetloom.errors import JetloomError

LABELS = ["gluon", "quark"]
CHARGED_HADRONS = (211, 321, 2212)
NEUTRAL_HADRONS = (130, 2112)
DAMAGE = (
    *(OSError, EOFError, ValueError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What zipfile and numpy raise for a damaged file; RuntimeError is an encrypted one."""


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream the jets of one file; neither X nor y is ever in memory as a whole.

    Args:
        raw: ``QG_jets*.npz``.
        dataset: names the classes that count.
        size: jets per chunk.

    Raises:
        JetloomError: no NPZ, no X or y, pickled objects, wrong shapes, no jets, a label that is neither 0 nor 1, a jet
            without particles, or NaN or infinity in one.
    """
    if not raw.is_file():
        raise JetloomError(f"{raw}: no such file; fetch it with `jetloom download`")
    try:
        with zipfile.ZipFile(raw) as archive:
            for name in ("X", "y"):
                if f"{name}.npy" not in archive.namelist():
                    found = ", ".join(item.removesuffix(".npy") for item in archive.namelist()) or "nothing"
                    raise JetloomError(f"{raw}: no array {name!r}; found: {found}; fetch it again")
            with archive.open("X.npy") as file, archive.open("y.npy") as targets:
                shape, kind = _header(raw, "X", file)
                labels, label_kind = _header(raw, "y", targets)
                if len(shape) != 3 or shape[2] != 4 or labels != shape[:1]:
                    raise JetloomError(
                        f"{raw}: X is {shape} and y {labels}; expected (n, M, 4) and (n,); fetch it again"
                    )
                if not shape[0]:
                    raise JetloomError(f"{raw}: holds no jets; fetch it again")
                step = affordable(raw, shape[1] * shape[2] * kind.itemsize, size)
                for first in range(0, shape[0], step):
                    jets = min(step, shape[0] - first)
                    values = _exactly(file, (jets, *shape[1:]), kind)
                    yield _canonical(raw, values, _exactly(targets, (jets,), label_kind), dataset, first)
    except DAMAGE as error:
        raise JetloomError(f"{raw}: not a readable NPZ file, truncated or damaged ({error}); fetch it again") from None


def _header(raw: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    # Later versions allow headers of gigabytes, which no array of numbers needs.
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"{name} is of version {version} of the format, expected (1, 0)")
    shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"{name} has the shape {shape}")
    if kind.hasobject:
        raise JetloomError(f"{raw}: {name} holds pickled objects, which could run code; refused. Save it as numbers")
    if kind.kind not in "fiu" or (fortran and len(shape) > 1):
        raise JetloomError(
            f"{raw}: {name} is {kind} in {'column' if fortran else 'row'} order; expected rows of numbers"
        )
    return shape, kind


def _exactly(file: IO[bytes], shape: tuple[int, ...], kind: np.dtype) -> NDArray[Any]:
    size = math.prod(shape) * kind.itemsize
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{len(data)} of {size} bytes")
    return np.frombuffer(data, kind).reshape(shape)


def _canonical(
    raw: Path, values: NDArray[np.floating], target: NDArray[np.floating], dataset: Dataset, first: int
) -> awkward.Array:
    refuse(raw, ~np.isin(target, (0, 1)), first, "y is neither 0 nor 1")
    pt, rapidity, phi, identity = np.moveaxis(values, -1, 0)
    # NaN is not padding: it has to be found.
    real = ~(pt <= 0)
    refuse(raw, (real & ~np.isfinite(identity)).any(axis=1), first, "a PDG id is not finite")
    with np.errstate(over="ignore", invalid="ignore"):
        momenta = np.stack(
            [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(rapidity), pt * np.cosh(rapidity)], axis=-1
        )
    particle = identities(np.where(real, identity, 0).astype(np.int64))
    label = class_index(LABELS, dataset.classes)[target.astype(int)]
    return jagged(raw, first, momenta, real, label, particle=particle)


def identities(identity: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Charge and flags of particles from their PDG ids, any shape."""
    size = np.abs(identity)
    charged = np.isin(size, CHARGED_HADRONS)
    electron, muon = size == 11, size == 13
    # Leptons of positive id are negative.
    charge = np.sign(identity) * (charged.astype(int) - (electron | muon))
    return {
        "part_charge": charge,
        "part_isChargedHadron": charged,
        "part_isNeutralHadron": np.isin(size, NEUTRAL_HADRONS),
        "part_isPhoton": identity == 22,
        "part_isElectron": electron,
        "part_isMuon": muon,
    }
