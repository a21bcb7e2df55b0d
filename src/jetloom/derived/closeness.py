"""How close the jets that a training made are to those that they should be like: distances of observables."""

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from jetloom.models.layers.packing import vectors_of
from jetloom.statistics.closeness import floor, kl, kl_density, wasserstein
from jetloom.substructure import observables
from jetloom.system.files import appearing

SCHEMA_VERSION = 1
BATCH = 500
MOST = 200
"""Batches of each split, at most."""
SPLIT = "test"

Columns = dict[str, NDArray[np.float64]]


def closeness(manifest: Path, reference: Path, told: Mapping[str, Any], output: Path, table: Path) -> None:
    """Compare the test jets of a derived data set with those of another one.

    Of each observable: ``w1`` (Wasserstein distance), ``floor`` (the same between disjoint samples of the reference, of
    as many jets or as there are: mean, 5 and 95 %), ``ratio`` of both, ``kl`` with its expectation ``kl_expected``
    if both were equal, ``kl_density`` (as OmniJet-alpha's code has it), and how many jets have no such number.

    Args:
        manifest: of the derived set.
        reference: of what it should be like.
        told: noted as they are: ``set`` and ``reference``, their titles, and the ``run`` that made the set.
        output: JSON file.
        table: Parquet file of the observables of both, ``reference`` being 1 for those of the reference.

    Raises:
        JetloomError: either holds no momenta.
    """
    made, truth = Manifest.read(manifest), Manifest.read(reference)
    for path, described in ((manifest, made), (reference, truth)):
        if described.kind != "jets":
            raise JetloomError(f"{path}: holds {described.kind}; observables need momenta")
    ours, theirs = _columns(manifest, SPLIT), _columns(reference, SPLIT)
    others = [_columns(reference, split) for split in truth.splits if split != SPLIT]
    found = {}
    for name, values in ours.items():
        whole = np.concatenate([part[name] for part in [theirs, *others]])
        found[name] = _compared(values, theirs[name], whole)
    content = {
        "schema_version": SCHEMA_VERSION,
        **told,
        "derived": made.derived,
        "split": SPLIT,
        "jets": len(next(iter(ours.values()))),
        "reference_jets": len(next(iter(theirs.values()))),
        "data_digest": made.digest,
        "reference_digest": truth.digest,
        "observables": found,
    }
    with appearing(table) as partial:
        pq.write_table(_table(ours, theirs), partial, compression="zstd")
    with appearing(output) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _columns(manifest: Path, split: str) -> Columns:
    loader = Loader(manifest, split, batch_size=BATCH, shuffle=False)
    parts = [observables(vectors_of(batch).numpy(), batch.mask.numpy()) for batch in islice(loader, MOST)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _compared(ours: NDArray[np.float64], theirs: NDArray[np.float64], whole: NDArray[np.float64]) -> dict[str, Any]:
    given, expected = ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]
    left_out = {"undefined": len(ours) - len(given), "reference_undefined": len(theirs) - len(expected)}
    if min(len(given), len(expected)) < 2:
        return {
            **left_out,
            "w1": None,
            "floor": None,
            "ratio": None,
            "kl": None,
            "kl_expected": None,
            "kl_density": None,
        }
    between = floor(whole[np.isfinite(whole)], min(len(given), len(expected)))
    distance, apart = wasserstein(given, expected), kl(expected, given)
    return {
        **left_out,
        "w1": distance,
        "floor": between._asdict(),
        "ratio": distance / between.mean if between.mean > 0 else None,
        "kl": apart.value,
        "kl_expected": apart.expected,
        "kl_density": kl_density(expected, given),
    }


def _table(ours: Columns, theirs: Columns) -> pa.Table:
    sides = [np.full(len(next(iter(side.values()))), index, np.int8) for index, side in enumerate((ours, theirs))]
    columns = {name: np.concatenate([ours[name], theirs[name]]).astype(np.float32) for name in ours}
    return pa.table({"reference": np.concatenate(sides), **columns})
