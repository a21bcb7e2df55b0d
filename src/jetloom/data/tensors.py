"""The reduce step: shards of padded tensors, and the manifest that describes them.

Shard s of a split is made from slice s of every skim of the split and shuffled inside: classes and files are mixed with
no pass over the whole set, and every shard is a job of its own.
"""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from safetensors.numpy import save_file

from jetloom.config import Dataset
from jetloom.data.features import FEATURE_SETS, RAW_COLUMNS, standardised
from jetloom.data.manifest import SCHEMA_VERSION, Manifest, Shard, Source, Split
from jetloom.data.skim import read_facts
from jetloom.errors import JetloomError

OBSERVERS = ["jet_pt", "jet_eta", "jet_mass", "jet_sdmass", "jet_nparticles"]


def write_shard(name: str, dataset: Dataset, split: str, shard: int, skims: list[Path], output: Path) -> None:
    """Write one shard: a safetensors file with a group of arrays for each bucket.

    Args:
        name: of the data set.
        dataset: feature set, longest jet, buckets, number of shards, seed.
        split: name of the split.
        shard: which shard, from 0.
        skims: all skims of the split, in the same order for every shard.
        output: file to write; it appears when it is complete. Same skims and seed, same bytes.

    Raises:
        JetloomError: unknown split or shard, a file that is no skim, or skims of other classes or selection.
    """
    if split not in dataset.splits:
        raise JetloomError(f"--split {split}: no such split; allowed: {', '.join(dataset.splits)}")
    shards = dataset.shards.get(split, 1)
    if not 0 <= shard < shards:
        raise JetloomError(f"--shard {shard}: split {split} has {shards} shards, counted from 0")
    facts = [_checked(read_facts(path), dataset, path) for path in skims]
    table = pyarrow.concat_tables([_slice(path, dataset, shard, shards) for path in skims])
    # Every shard of every split has a stream of its own.
    key = [dataset.seed, shard, *split.encode()]
    order = numpy.random.default_rng(key).permutation(table.num_rows)
    table = table.combine_chunks()
    label = _numbers(table, "label").astype(numpy.int64)[order]
    flat, jet, rank, counts = _particles(table, dataset, order)
    length = numpy.minimum(counts, dataset.max_particles)
    arrays, per_bucket = _buckets(table, dataset, order, flat, jet, rank, length, label)
    described = {
        "schema_version": SCHEMA_VERSION,
        "dataset": name,
        "split": split,
        "shard": shard,
        "jets": len(label),
        "per_class": {item: int((label == index).sum()) for index, item in enumerate(dataset.classes)},
        "per_bucket": per_bucket,
        "truncated": int((counts > dataset.max_particles).sum()),
        "observers": _observers(table),
        "made_from": [{"file": fact["raw"], "sha256": fact["raw_sha256"]} for fact in facts],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    try:
        save_file(arrays, partial, metadata={"jetloom": json.dumps(described, sort_keys=True)})
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def write_manifest(name: str, dataset: Dataset, shards: list[Path], output: Path) -> None:
    """Check the shards of all splits and describe them in ``manifest.json``.

    Args:
        name: of the data set.
        dataset: what the shards were made with.
        shards: all shards of all splits.
        output: the manifest; shards are named relative to its directory.

    Raises:
        JetloomError: a missing shard or split, a class without jets in a split, a raw file in two splits.
    """
    headers = {path: read_header(path) for path in shards}
    splits, made_from, observers = {}, {}, []
    for split in dataset.splits:
        some = sorted(
            (path for path in shards if headers[path]["split"] == split), key=lambda path: headers[path]["shard"]
        )
        expected = list(range(dataset.shards.get(split, 1)))
        if (found := [headers[path]["shard"] for path in some]) != expected:
            raise JetloomError(f"split {split}: expected shards {expected}, got {found}")
        splits[split] = _split(dataset, split, some, [headers[path] for path in some], output)
        for source in headers[some[0]]["made_from"]:
            if other := made_from.get(source["sha256"]):
                raise JetloomError(
                    f"{source['file']} of split {split} has the same content as {other[1]['file']} of split "
                    f"{other[0]}; a jet may be in one split only"
                )
            made_from[source["sha256"]] = (split, source)
        observers = headers[some[0]]["observers"]
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        dataset=name,
        title=dataset.title,
        kind=dataset.kind,
        simulated=dataset.simulated,
        source=dataset.source,
        feature_set=dataset.feature_set,
        features=[item.name for item in FEATURE_SETS[dataset.feature_set]],
        standardisation=[tuple(item) for item in FEATURE_SETS[dataset.feature_set]],
        classes=dataset.classes,
        background=dataset.background,
        working_points=dataset.working_points,
        observers=observers,
        max_particles=dataset.max_particles,
        buckets=dataset.buckets or [dataset.max_particles],
        selection=dataset.selection,
        seed=dataset.seed,
        splits=splits,
        made_from=[Source(**source) for _, source in made_from.values()],
    ).signed()
    partial = output.with_name(f".{output.name}.partial")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(manifest.model_dump_json(indent=1))
    os.replace(partial, output)


def read_header(shard: Path) -> dict[str, Any]:
    """What a shard says about itself.

    Raises:
        JetloomError: not a shard of this version.
    """
    try:
        with shard.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
        described = json.loads(header["__metadata__"]["jetloom"])
    except (OSError, struct.error, ValueError, KeyError, OverflowError, MemoryError):
        raise JetloomError(f"{shard}: not a readable shard; make it again with `jetloom tensors shard`") from None
    if described.get("schema_version") != SCHEMA_VERSION:
        raise JetloomError(f"{shard}: not a shard of version {SCHEMA_VERSION}; make it again")
    return described


def _checked(facts: dict[str, Any], dataset: Dataset, path: Path) -> dict[str, Any]:
    selection = {key: list(value) for key, value in dataset.selection.items()}
    if facts["classes"] != dataset.classes or facts["selection"] != selection:
        raise JetloomError(f"{path}: skimmed with other classes or another selection; make the skim again")
    return facts


def _slice(path: Path, dataset: Dataset, shard: int, shards: int) -> pyarrow.Table:
    """Rows of slice ``shard`` of ``shards``, reading only the row groups that hold them."""
    file = pyarrow.parquet.ParquetFile(path)
    rows = file.metadata.num_rows
    first, last = rows * shard // shards, rows * (shard + 1) // shards
    edges = numpy.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    groups = [i for i in range(file.num_row_groups) if edges[i] < last and edges[i + 1] > first]
    present = set(file.schema_arrow.names)
    columns = [*RAW_COLUMNS[dataset.feature_set], "label"]
    columns += [name for name in ("jet_pt", "jet_eta", "jet_energy", "jet_sdmass", "jet_nparticles") if name in present]
    table = file.read_row_groups(groups, columns=columns)
    start = first - (int(edges[groups[0]]) if groups else 0)
    # take copies: a slice would keep the whole row groups alive until the shard is written.
    return table.take(numpy.arange(start, start + last - first))


def _numbers(table: pyarrow.Table, column: str) -> NDArray:
    return table[column].to_numpy()


def _particles(
    table: pyarrow.Table, dataset: Dataset, order: NDArray
) -> tuple[dict[str, NDArray], NDArray, NDArray, NDArray]:
    """Kept particles of the shuffled jets: flat columns, jet and place of each, and the counts before the cut."""
    columns = RAW_COLUMNS[dataset.feature_set]
    lists = {name: table[name].combine_chunks() for name in columns}
    if table.num_rows == 0:
        empty = numpy.empty(0, dtype=numpy.int64)
        return {name: numpy.empty(0, dtype=numpy.float32) for name in columns}, empty, empty, empty
    offsets = next(iter(lists.values())).offsets.to_numpy()
    before = numpy.diff(offsets)
    counts = before[order]
    # Places of the particles of the shuffled jets in the stored, unshuffled columns.
    starts = numpy.repeat(offsets[:-1][order] - numpy.concatenate([[0], counts.cumsum()[:-1]]), counts)
    index = starts + numpy.arange(counts.sum())
    flat = {name: values.values.to_numpy(zero_copy_only=False)[index] for name, values in lists.items()}
    jet = numpy.repeat(numpy.arange(len(counts)), counts)
    if dataset.kind == "jets":
        falling = numpy.lexsort((-numpy.hypot(flat["part_px"], flat["part_py"]), jet))
        flat = {name: values[falling] for name, values in flat.items()}
    rank = numpy.arange(len(jet)) - numpy.repeat(counts.cumsum() - counts, counts)
    kept = rank < dataset.max_particles
    return {name: values[kept] for name, values in flat.items()}, jet[kept], rank[kept], counts


def _observers(table: pyarrow.Table) -> list[str]:
    present = set(table.column_names)
    return [name for name in OBSERVERS if name in present or (name == "jet_mass" and "jet_energy" in present)]


def _observed(table: pyarrow.Table, name: str) -> NDArray:
    if name == "jet_mass":
        pt, eta, energy = (_numbers(table, key).astype(float) for key in ("jet_pt", "jet_eta", "jet_energy"))
        return numpy.sqrt(numpy.maximum(energy**2 - (pt * numpy.cosh(eta)) ** 2, 0.0))
    return _numbers(table, name)


def _buckets(
    table: pyarrow.Table,
    dataset: Dataset,
    order: NDArray,
    flat: dict[str, NDArray],
    jet: NDArray,
    rank: NDArray,
    length: NDArray,
    label: NDArray,
) -> tuple[dict[str, NDArray], dict[str, int]]:
    """Arrays of each bucket, padded with zeros to its width."""
    jets = dataset.kind == "jets"
    pt, energy = (_numbers(table, name)[order][jet] for name in ("jet_pt", "jet_energy")) if jets else (None, None)
    inputs = standardised(dataset.feature_set, flat, pt, energy)
    columns = {"features": inputs}
    if jets:
        columns["vectors"] = _stack(flat, "part_px", "part_py", "part_pz", "part_energy")
        columns["coordinates"] = _stack(flat, "part_deta", "part_dphi")
    else:
        columns["coordinates"] = inputs
    names = _observers(table)
    observers = [_observed(table, name)[order] for name in names]
    widths = dataset.buckets or [dataset.max_particles]
    bucket = numpy.searchsorted(widths, length)
    arrays, per_bucket = {}, {}
    for index, width in enumerate(widths):
        members = numpy.flatnonzero(bucket == index)
        per_bucket[str(width)] = len(members)
        if not len(members):
            continue
        place = numpy.empty(len(length), dtype=numpy.int64)
        place[members] = numpy.arange(len(members))
        inside = bucket[jet] == index
        rows, slots = place[jet[inside]], rank[inside]
        group = f"{width:04d}"
        for key, values in columns.items():
            padded = numpy.zeros((len(members), width, values.shape[1]), dtype=numpy.float32)
            padded[rows, slots] = values[inside]
            arrays[f"{group}/{key}"] = padded
        arrays[f"{group}/length"] = length[members].astype(numpy.int16)
        arrays[f"{group}/label"] = label[members]
        if names:
            arrays[f"{group}/observers"] = numpy.stack([values[members] for values in observers], axis=1).astype(
                numpy.float32
            )
    return arrays, per_bucket


def _stack(flat: dict[str, NDArray], *names: str) -> NDArray:
    return numpy.stack([flat[name] for name in names], axis=1)


def _split(dataset: Dataset, split: str, shards: list[Path], headers: list[dict[str, Any]], output: Path) -> Split:
    per_class = {name: sum(header["per_class"][name] for header in headers) for name in dataset.classes}
    if empty := [name for name, jets in per_class.items() if not jets]:
        cuts = ", ".join(f"{key} in {list(value)}" for key, value in dataset.selection.items()) or "no cuts"
        raise JetloomError(f"split {split}: no jets of class {', '.join(empty)} after the selection ({cuts})")
    widths = dataset.buckets or [dataset.max_particles]
    return Split(
        jets=sum(header["jets"] for header in headers),
        per_class=per_class,
        per_bucket={str(width): sum(header["per_bucket"][str(width)] for header in headers) for width in widths},
        truncated=sum(header["truncated"] for header in headers),
        shards=[
            Shard(file=os.path.relpath(path, output.parent), sha256=_sha256(path), jets=header["jets"])
            for path, header in zip(shards, headers, strict=True)
        ],
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
