"""From canonical jagged jets to the flat inputs of a model, and from there into padded arrays."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jetloom.data.axes import jet_mass
from jetloom.data.prepare.features import RAW_COLUMNS, Flat, standardised

OBSERVERS = ["jet_pt", "jet_eta", "jet_mass", "jet_sdmass", "jet_nparticles"]
"""Those that come first."""


class Jets(NamedTuple):
    """n jets with P kept particles in all, jet by jet, hardest particle first."""

    features: NDArray[Any]
    """(P, F) float32, standardised; (P, 1) int16 for codes."""
    vectors: NDArray[np.float32] | None
    """(P, 4) float32, px, py, pz, E in GeV; None for point clouds and codes."""
    coordinates: NDArray[Any]
    """(P, 2) float32 deta, dphi; (P, 3) x, y, z for point clouds; (P, 0) for codes."""
    length: NDArray[np.integer]
    """(n,) kept particles."""
    count: NDArray[np.integer]  # type: ignore[assignment]  # a field, not the method of tuples
    """(n,) particles before the cut."""
    label: NDArray[np.int64]
    """(n,) class index."""
    observers: NDArray[np.float32]
    """(n, K) float32, in the order of ``observer_names``."""


def needed_columns(feature_set: str, present: list[str]) -> list[str]:
    """Canonical columns that ``flatten`` reads, of those a file has."""
    return [*RAW_COLUMNS[feature_set], "label", *_of_jets(present)]


def observer_names(present: list[str]) -> list[str]:
    """Observers that can be had from the columns of a file: every quantity of the jet; ``jet_mass`` is computed."""
    known = _of_jets(present) + (["jet_mass"] if "jet_energy" in present and "jet_mass" not in present else [])
    return [*(name for name in OBSERVERS if name in known), *(name for name in known if name not in OBSERVERS)]


def _of_jets(present: list[str]) -> list[str]:
    """Columns of one number for each jet."""
    return [name for name in present if name.startswith(("jet_", "aux_"))]


def flatten(table: pa.Table, kind: str, feature_set: str, max_particles: int) -> Jets:
    """Inputs of a model for the rows of a skim.

    Args:
        table: canonical columns, at least ``needed_columns``.
        kind: ``jets``, whose particles are ordered by falling pT, or ``points`` or ``tokens``, which keep their order.
        feature_set: one of ``FEATURE_SETS``.
        max_particles: the first so many particles of each jet are kept.
    """
    table = table.combine_chunks()
    lists = {name: _list(table, name) for name in RAW_COLUMNS[feature_set]}
    count = np.diff(next(iter(lists.values())).offsets.to_numpy())
    flat = {name: column.flatten().to_numpy(zero_copy_only=False) for name, column in lists.items()}
    jet = np.repeat(np.arange(len(count)), count)
    if kind == "jets":
        pt = np.hypot(flat["part_px"], flat["part_py"])
        if np.any((np.diff(pt) > 0) & (np.diff(jet) == 0)):
            falling = np.lexsort((-pt, jet))
            flat = {name: values[falling] for name, values in flat.items()}
    if count.size and count.max() > max_particles:
        kept = slots(count) < max_particles
        flat, jet = {name: values[kept] for name, values in flat.items()}, jet[kept]
    names = observer_names(table.column_names)
    observed = [_observed(table, name) for name in names]
    rest = {
        "length": np.minimum(count, max_particles),
        "count": count,
        "label": _numbers(table, "label").astype(np.int64),
        "observers": np.stack(observed, axis=1) if names else np.empty((len(count), 0), np.float32),
    }
    if kind == "tokens":
        codes = flat["part_code"].astype(np.int16)[:, None]
        return Jets(features=codes, vectors=None, coordinates=codes[:, :0], **rest)
    jets = kind == "jets"
    pt, energy = (_numbers(table, name)[jet] for name in ("jet_pt", "jet_energy")) if jets else (None, None)
    features = standardised(feature_set, flat, pt, energy)
    return Jets(
        features=features,
        vectors=_stack(flat, "part_px", "part_py", "part_pz", "part_energy") if jets else None,
        coordinates=_stack(flat, "part_deta", "part_dphi") if jets else features,
        **rest,
    )


def slots(length: NDArray[np.integer]) -> NDArray[np.integer]:
    """Place of each particle in its jet, (P,)."""
    place: NDArray[np.integer] = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
    return place


def particle_counts(table: pa.Table, feature_set: str) -> NDArray[np.integer]:
    """Particles of each row, before any cut."""
    offsets = _list(table.combine_chunks(), RAW_COLUMNS[feature_set][0]).offsets.to_numpy()
    counts: NDArray[np.integer] = np.diff(offsets)
    return counts


def _list(table: pa.Table, name: str) -> pa.ListArray:
    column = table[name]
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    numbers: NDArray[Any] = table[name].to_numpy()
    return numbers


def _stack(flat: Flat, *names: str) -> NDArray[np.float32]:
    return np.stack([flat[name] for name in names], axis=1).astype(np.float32, copy=False)


def _observed(table: pa.Table, name: str) -> NDArray[np.float32]:
    if name != "jet_mass":
        return _numbers(table, name).astype(np.float32)
    pt, eta, energy = (_numbers(table, key) for key in ("jet_pt", "jet_eta", "jet_energy"))
    return jet_mass(pt, eta, energy).astype(np.float32)
