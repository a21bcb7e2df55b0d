"""Jets that come as zero-padded arrays, made canonical: jagged, hardest particle first, relative to the jet's axis."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward
import numpy as np
from numpy.typing import NDArray

from jetloom.data.axes import wrapped
from jetloom.errors import JetloomError

READ_AT_ONCE = 100_000_000
"""Bytes of a raw file in memory at once."""
LARGEST_JET = 1_000_000
"""Bytes; the published sets have up to 20,000."""


def affordable(raw: Path, jet: int, size: int) -> int:
    """Jets to read at once, ``size`` or fewer, when one takes so many bytes: a small compressed file may unpack to more
    than the memory.

    Raises:
        JetloomError: a single jet is too large.
    """
    if jet > LARGEST_JET:
        raise JetloomError(f"{raw}: one jet has {jet} bytes; expected at most {LARGEST_JET}; fetch the file again")
    return max(1, min(size, READ_AT_ONCE // max(jet, 1)))


def class_index(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """For each class of the publisher, its index in the data set, -1 if it is not in it."""
    return np.array([classes.index(name) if name in classes else -1 for name in names])


def refuse(raw: Path, bad: NDArray[np.bool_], first: int, what: str) -> None:
    """Name the first bad jet.

    Raises:
        JetloomError: some are bad.
    """
    if bad.any():
        raise JetloomError(
            f"{raw}: jet {first + int(bad.argmax())}: {what} ({int(bad.sum())} such jets in the chunk); "
            "fetch or make it again"
        )


def jagged(
    raw: Path,
    first: int,
    momenta: NDArray[np.number],
    real: NDArray[np.bool_],
    label: NDArray[np.integer],
    *,
    particle: Mapping[str, NDArray[Any]] | None = None,
    jet: Mapping[str, NDArray[Any]] | None = None,
) -> awkward.Array:
    """Canonical jets from padded arrays, particles ordered by falling pT.

    ``part_deta`` is multiplied by the sign of the jet's eta, as in JetClass; ``jet_*`` is the sum of the particles.

    Args:
        raw: file, for messages.
        first: number of the first jet in the file.
        momenta: (n, M, 4) px, py, pz, E in GeV.
        real: (n, M) bool, False where there is only padding.
        label: (n,) class index.
        particle: further columns, (n, M) each; they replace computed ones.
        jet: further columns, (n,) each; they replace computed ones.

    Raises:
        JetloomError: a jet without particles, or NaN or infinity in one.
    """
    count = real.sum(axis=1)
    refuse(raw, count == 0, first, "no particles")
    momenta = np.where(real[..., None], momenta, 0.0).astype(np.float64)
    refuse(raw, ~np.isfinite(momenta).all(axis=(1, 2)), first, "a four-vector is not finite")

    px, py, pz, energy = np.moveaxis(momenta.sum(axis=1), -1, 0)
    jets = {
        "jet_pt": np.hypot(px, py),
        "jet_eta": np.arcsinh(pz / np.maximum(np.hypot(px, py), 1e-12)),
        "jet_phi": np.arctan2(py, px),
        "jet_energy": energy,
    } | dict(jet or {})

    # Padding last, whatever sign or order it comes in.
    order = np.argsort(np.where(real, -np.hypot(momenta[..., 0], momenta[..., 1]), np.inf), kind="stable")
    kept = np.arange(real.shape[1]) < count[:, None]

    def flat(values: NDArray[Any]) -> NDArray[Any]:
        ordered: NDArray[Any] = np.take_along_axis(values, order, axis=1)[kept]
        return ordered

    axis = {name: np.repeat(jets[name], count) for name in ("jet_eta", "jet_phi")}
    px, py, pz, energy = (flat(momenta[..., index]) for index in range(4))
    eta = np.arcsinh(pz / np.maximum(np.hypot(px, py), 1e-12))
    turn = np.arctan2(py, px) - axis["jet_phi"]
    columns = {
        "part_px": px,
        "part_py": py,
        "part_pz": pz,
        "part_energy": energy,
        "part_deta": np.where(axis["jet_eta"] > 0, 1.0, -1.0) * (eta - axis["jet_eta"]),
        "part_dphi": wrapped(turn),
    } | {name: flat(values) for name, values in (particle or {}).items()}
    for name, values in columns.items():
        refuse(raw, np.bincount(np.repeat(np.arange(len(count)), count), ~np.isfinite(values)) > 0, first,
               f"{name} is not finite")  # fmt: skip
    jets["jet_nparticles"] = count
    record = {name: awkward.unflatten(values.astype(np.float32), count) for name, values in columns.items()}
    record |= {name: np.asarray(values, np.float32) for name, values in jets.items()}
    return awkward.zip(record | {"label": label}, depth_limit=1)
