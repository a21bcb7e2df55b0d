"""Jets that a training made, as skims: the form in which everything else reads them."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import awkward
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jetloom.data.axes import wrapped
from jetloom.data.prepare.skim import ROW_GROUP, SCHEMA_VERSION, Content, writer_of
from jetloom.errors import JetloomError
from jetloom.system.files import appearing


def write_skim(output: Path, tables: Iterable[pa.Table], facts: Mapping[str, Any]) -> None:
    """Write jets as they come; the file appears when it is complete.

    Args:
        output: Parquet file.
        tables: of one schema.
        facts: ``classes``, and what the jets were made from; read when all jets are there.

    Raises:
        JetloomError: no jets.
    """
    content, jets = Content(), 0
    with appearing(output) as partial, ExitStack() as opened:
        writer = None
        for table in tables:
            if writer is None:
                writer = opened.enter_context(writer_of(partial, table.schema))
            if table.num_rows:
                content.add(awkward.from_arrow(table))
                jets += table.num_rows
                writer.write_table(table, row_group_size=ROW_GROUP)
        if writer is None:
            raise JetloomError(f"{output}: no jets to write")
        known = {
            "schema_version": SCHEMA_VERSION,
            "raw": output.stem,
            "content_sha256": content.hexdigest(),
            "selection": {},
            "jets_kept": jets,
        }
        writer.add_key_value_metadata({"jetloom": json.dumps({**known, **facts})})


def table_of(
    vectors: NDArray[np.floating], kept: NDArray[np.bool_], code: NDArray[np.integer], label: NDArray[np.integer]
) -> pa.Table:
    """Canonical columns of jets; those without particles are left out.

    Args:
        vectors: (B, N, 4) px, py, pz, E in GeV.
        kept: (B, N) which particles are there.
        code: (B, N) of each.
        label: (B,) class.

    Returns:
        Momenta, ``part_deta`` and ``part_dphi`` to the vector sum, ``part_code``; ``jet_pt``, ``jet_eta``,
        ``jet_energy``, ``jet_nparticles`` and ``label``.
    """
    there = kept.any(1)
    vectors, kept, code, label = vectors[there].astype(float), kept[there], code[there], label[there]
    px, py, pz, energy = np.moveaxis(np.where(kept[..., None], vectors, 0.0).sum(1), -1, 0)
    jet_pt, jet_phi = np.hypot(px, py), np.arctan2(py, px)
    jet_eta = np.arcsinh(pz / np.maximum(jet_pt, 1e-20))
    number = kept.sum(1)
    offsets = pa.array(np.concatenate([[0], number.cumsum()]).astype(np.int32))
    jet = np.repeat(np.arange(len(label)), number)
    flat = vectors[kept]
    eta = np.arcsinh(flat[:, 2] / np.maximum(np.hypot(flat[:, 0], flat[:, 1]), 1e-20))
    particles = {f"part_{name}": flat[:, place] for place, name in enumerate(("px", "py", "pz", "energy"))}
    particles["part_deta"] = eta - jet_eta[jet]
    particles["part_dphi"] = wrapped(np.arctan2(flat[:, 1], flat[:, 0]) - jet_phi[jet])
    columns = {name: _lists(offsets, values.astype(np.float32)) for name, values in particles.items()}
    columns["part_code"] = _lists(offsets, code[kept].astype(np.int16))
    jets = {"jet_pt": jet_pt, "jet_eta": jet_eta, "jet_energy": energy, "jet_nparticles": number}
    columns |= {name: pa.array(values.astype(np.float32)) for name, values in jets.items()}
    return pa.table(columns | {"label": pa.array(label.astype(np.int8))})


def _lists(offsets: pa.Array, values: NDArray[Any]) -> pa.Array:
    return pa.ListArray.from_arrays(offsets, pa.array(values))
