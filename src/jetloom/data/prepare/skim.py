"""The map step: one raw file in, one Parquet file of selected canonical jets out."""

import hashlib
import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import awkward
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jetloom.config import Dataset
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

SCHEMA_VERSION = 2
FACTS = {"raw", "content_sha256", "classes", "selection"}
"""What shards need to know of a skim."""
ROW_GROUP = 1000
"""Jets that are read together: a shard takes a thin slice of every skim."""


def skim(name: str, dataset: Dataset, raw: Path, output: Path, *, chunk: int = 20_000) -> None:
    """Select the jets of one raw file; memory is bounded by the chunk, not by the file.

    Args:
        name: of the data set, noted in the file.
        dataset: source, classes and selection.
        raw: raw file; for point clouds the directory of one class and split.
        output: Parquet file, in row groups of 1,000 jets; appears when it is complete.
        chunk: jets read at once.

    Raises:
        JetloomError: what the source finds wrong with the file, or a selection on a column that it has not.
    """
    source = importlib.import_module(f"jetloom.data.sources.{dataset.source}")
    read = kept = 0
    content = Content()
    with appearing(output) as partial, ExitStack() as opened:
        writer = None
        for jets in source.chunks(raw, dataset, chunk):
            read += len(jets)
            jets = awkward.with_field(jets, awkward.values_astype(jets["label"], "int8"), "label")
            content.add(jets)
            jets = jets[selected(dataset, jets, raw)]
            kept += len(jets)
            table = awkward.to_arrow_table(jets, extensionarray=False, list_to32=True)
            if writer is None:
                writer = opened.enter_context(writer_of(partial, table.schema))
            if len(jets):
                # A cast imports pyarrow's functions, which takes longer than a short skim.
                same = table.schema.equals(writer.schema, check_metadata=True)
                writer.write_table(table if same else table.cast(writer.schema), row_group_size=ROW_GROUP)
        if writer is None:
            raise JetloomError(f"{raw}: no jets")
        facts = {
            "schema_version": SCHEMA_VERSION,
            "dataset": name,
            "raw": raw.name if raw.is_file() else f"{raw.parent.name}/{raw.name}",
            "raw_sha256": (sha256 := content_hash(raw)),
            "content_sha256": content.hexdigest() if raw.is_file() else sha256,
            "classes": dataset.classes,
            "selection": dataset.selection,
            "jets_read": read,
            "jets_kept": kept,
        }
        writer.add_key_value_metadata({"jetloom": json.dumps(facts)})


def writer_of(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of canonical jets."""
    # Trying a dictionary for momenta, all different, takes three times as long and is larger.
    coded = ("part_charge", "part_code", "label")
    few_values = [name for name in schema.names if name.startswith("part_is") or name in coded]
    paths = [f"{name}.list.element" if name.startswith("part_") else name for name in few_values]
    return pq.ParquetWriter(
        path, schema, compression="lz4", use_dictionary=paths, write_statistics=False, write_page_checksum=True
    )


def selected(dataset: Dataset, jets: awkward.Array, raw: Path) -> np.ndarray:
    """Which jets pass every cut and belong to a class of the data set, (n,) bool."""
    keep = np.asarray(jets["label"]) >= 0
    for column, (low, high) in dataset.selection.items():
        if column not in jets.fields or jets[column].ndim != 1:
            known = ", ".join(field for field in jets.fields if jets[field].ndim == 1 and field != "label")
            raise JetloomError(f"selection.{column}: {raw.name} has no such column; allowed: {known}")
        values = np.asarray(jets[column])
        if low is not None:
            keep &= values >= low
        if high is not None:
            keep &= values <= high
    return keep


class Content:
    """Hash of jets, whatever the chunks they come in: the bytes of a ROOT file hold the time of writing too."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def add(self, jets: awkward.Array) -> None:
        """Take up some jets."""
        for name in jets.fields:
            column = jets[name]
            if column.ndim > 1:
                self._update(f"{name}/count", awkward.num(column))
                column = awkward.flatten(column)
            self._update(name, column)

    def _update(self, key: str, values: awkward.Array) -> None:
        digest = self._columns.setdefault(key, hashlib.sha256())
        digest.update(np.ascontiguousarray(awkward.to_numpy(values)).data.cast("B"))

    def hexdigest(self) -> str:
        """Of all jets so far."""
        whole = hashlib.sha256()
        for key, digest in sorted(self._columns.items()):
            whole.update(f"{key} {digest.hexdigest()}\n".encode())
        return whole.hexdigest()


def content_hash(raw: Path) -> str:
    """sha256 of a file, or of the names and contents of a directory's files.

    Hidden files do not count: Snakemake leaves one in each directory that it makes, and file browsers do.
    """
    if raw.is_file():
        with raw.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for path in sorted(path for path in raw.iterdir() if path.is_file() and not path.name.startswith(".")):
        digest.update(f"{path.name}\n{content_hash(path)}\n".encode())
    return digest.hexdigest()


@contextmanager
def readable(skimmed: Path) -> Iterator[None]:
    """Make one line of what pyarrow raises when a skim is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise JetloomError(f"{skimmed}: no such skim; make it with `jetloom skim`") from None
    except (OSError, pa.ArrowException, ValueError, RecursionError):
        raise JetloomError(f"{skimmed}: not a readable Parquet file; make the skim again") from None


def read_facts(skimmed: Path) -> dict[str, Any]:
    """What a skim says about itself.

    Raises:
        JetloomError: missing or damaged file, or not a skim of this version.
    """
    with readable(skimmed):
        facts = json.loads((pq.read_metadata(skimmed).metadata or {}).get(b"jetloom", b"{}"))
    if not isinstance(facts, dict) or facts.get("schema_version") != SCHEMA_VERSION or not facts.keys() >= FACTS:
        raise JetloomError(f"{skimmed}: not a skim of version {SCHEMA_VERSION}; make it again with `jetloom skim`")
    return facts
