"""Equally many jets of several data sets, or of two halves of one, to be told apart."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.data.prepare.features import KINEMATIC_COLUMNS
from jetloom.data.prepare.skim import read_facts, readable
from jetloom.derived.skims import write_skim
from jetloom.errors import JetloomError

JETS = ("jet_pt", "jet_eta", "jet_energy", "jet_nparticles")
"""Columns of the jets that all have."""


def mix(parts: Sequence[Sequence[Path]], classes: list[str], part: int, key: list[int], output: Path) -> None:
    """Write the jets of one of the data sets, as many as the smallest of them has.

    Args:
        parts: skims of a split of each data set.
        classes: their names.
        part: which of them; its jets get this label.
        key: of the choice of jets.
        output: Parquet file.

    Raises:
        JetloomError: a skim that is damaged, or a data set without jets.
    """
    known = [[read_facts(path) for path in paths] for paths in parts]
    jets = [sum(fact["jets_kept"] for fact in facts) for facts in known]
    if min(jets) == 0:
        raise JetloomError(f"{classes[jets.index(0)]}: no jets in this split; nothing to compare with")
    drawn = np.random.default_rng([*key, part]).permutation(jets[part])[: min(jets)]
    _write(parts[part], known[part], drawn, _common(parts), classes, part, output)


def halve(paths: Sequence[Path], classes: list[str], half: int, key: list[int], output: Path) -> None:
    """Write half of the jets of a data set; the other half are the others, but for the last of an odd number.

    Args:
        paths: skims of a split of it.
        classes: names of the halves.
        half: which of them; its jets get this label.
        key: of the choice of jets, the same for both.
        output: Parquet file.

    Raises:
        JetloomError: a skim that is damaged, or fewer than two jets.
    """
    known = [read_facts(path) for path in paths]
    jets = sum(fact["jets_kept"] for fact in known)
    if jets < 2:
        raise JetloomError(f"{classes[half]}: {jets} jets in this split; expected at least two")
    drawn = np.random.default_rng(key).permutation(jets)[half : jets // 2 * 2 : 2]
    _write(paths, known, drawn, _common([paths]), classes, half, output)


def _write(
    paths: Sequence[Path],
    known: Sequence[Mapping[str, Any]],
    drawn: NDArray[np.int64],
    columns: list[str],
    classes: list[str],
    label: int,
    output: Path,
) -> None:
    jets = sum(fact["jets_kept"] for fact in known)
    chosen = np.zeros(jets, bool)
    chosen[drawn] = True
    facts = {"classes": classes, "made_from": [fact["content_sha256"] for fact in known], "jets_read": jets}
    write_skim(output, _chosen(paths, chosen, columns, label), facts)


def _common(parts: Sequence[Sequence[Path]]) -> list[str]:
    """Columns that all data sets have, of those that follow from momenta or codes."""
    present = []
    for paths in parts:
        with readable(paths[0]):
            present.append(pq.read_schema(paths[0]).names)
    wanted = [*KINEMATIC_COLUMNS, "part_code", *JETS]
    return [name for name in wanted if all(name in names for names in present)]


def _chosen(paths: Sequence[Path], chosen: NDArray[np.bool_], columns: list[str], label: int) -> Iterator[pa.Table]:
    begin = 0
    for path in paths:
        with readable(path):
            opened = pq.ParquetFile(path, page_checksum_verification=True)
        with opened as file:
            for group in range(file.num_row_groups):
                with readable(path):
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                own = table.filter(pa.array(chosen[begin : begin + table.num_rows])).combine_chunks()
                begin += table.num_rows
                yield _alike(own, columns).append_column("label", pa.array(np.full(own.num_rows, label, np.int8)))


def _alike(table: pa.Table, columns: list[str]) -> pa.Table:
    """With types that do not depend on who wrote the file."""

    def kind(name: str) -> pa.DataType:
        of = pa.int16() if name == "part_code" else pa.float32()
        return pa.list_(of) if name.startswith("part_") else of

    return table.select(columns).cast(pa.schema([(name, kind(name)) for name in columns]))
