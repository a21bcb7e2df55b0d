"""The reduce step: shards of padded tensors, and the manifest that describes them.

Shard s of a split is made from slice s of every skim of the split and shuffled inside: classes and files are mixed with
no pass over the whole set, and every shard is a job of its own.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jetloom.config import Dataset, DerivedDataset
from jetloom.data.prepare.features import FEATURE_SETS, RAW_COLUMNS
from jetloom.data.prepare.manifest import SCHEMA_VERSION, Manifest, Shard, Source, Split
from jetloom.data.prepare.padding import Jets, flatten, needed_columns, observer_names, particle_counts, slots
from jetloom.data.prepare.shardfile import AGAIN, create, read_header
from jetloom.data.prepare.skim import read_facts, readable
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

PIECE = 20_000
"""Rows of a skim in memory at once."""
FILLED = 40_000
"""Jets of a new shard in memory at once."""


def write_shard(name: str, dataset: Dataset, split: str, shard: int, skims: list[Path], output: Path) -> None:
    """Write one shard: a safetensors file with a group of arrays for each bucket.

    A first pass reads lengths and labels and finds the place of every jet, a second one fills the places, so that
    memory is bounded by ``PIECE`` and not by the shard.

    Args:
        name: of the data set.
        dataset: feature set, longest jet, buckets, number of shards, seed.
        split: name of the split.
        shard: which shard, from 0.
        skims: all skims of the split, in the same order for every shard.
        output: file to write; it appears when it is complete. Same skims and seed, same bytes.

    Raises:
        JetloomError: unknown split or shard, no skims, a file that is no skim, or skims of other classes or selection.
    """
    if split not in dataset.splits:
        raise JetloomError(f"--split {split}: no such split; allowed: {', '.join(dataset.splits)}")
    shards = dataset.shards.get(split, 1)
    if not 0 <= shard < shards:
        raise JetloomError(f"--shard {shard}: split {split} has {shards} shards, counted from 0")
    if not skims:
        raise JetloomError(f"split {split}: no skims given; name those of all its raw files")
    facts = [_checked(read_facts(path), dataset, path) for path in skims]
    columns = _columns(skims, dataset)
    first = [RAW_COLUMNS[dataset.feature_set][0], "label"]
    counts: list[NDArray[np.integer]] = [np.empty(0, np.int64)]
    labels = [np.empty(0, np.int64)]
    for piece in _pieces(skims, shard, shards, first):
        counts.append(particle_counts(piece, dataset.feature_set))
        # A copy: a view would keep the row groups alive.
        labels.append(piece["label"].to_numpy().astype(np.int64))
    count, label = np.concatenate(counts), np.concatenate(labels)
    # Every shard of every split has a stream of its own.
    order = np.random.default_rng([dataset.seed, shard, *split.encode()]).permutation(len(count))
    places = _places(dataset, np.minimum(count, dataset.max_particles), order)
    observers = observer_names(columns)
    described = {
        "schema_version": SCHEMA_VERSION,
        "dataset": name,
        "split": split,
        "shard": shard,
        "jets": len(count),
        "per_class": {item: int((label == index).sum()) for index, item in enumerate(dataset.classes)},
        "per_bucket": {str(width): jets for width, jets in zip(places.widths, places.jets, strict=True)},
        "truncated": int((count > dataset.max_particles).sum()),
        "observers": observers,
        "made_with": _made_with(dataset, split),
        "made_from": [{"file": fact["raw"], "sha256": fact["content_sha256"]} for fact in facts],
    }
    with create(output, _layout(dataset, places, len(observers)), described) as (arrays, release):
        begin = released = 0
        for piece in _pieces(skims, shard, shards, columns):
            jets = flatten(piece, dataset.kind, dataset.feature_set, dataset.max_particles)
            _fill(arrays, places, slice(begin, begin + len(jets.label)), jets)
            begin += len(jets.label)
            if begin - released >= FILLED:
                release()
                released = begin


def write_manifest(name: str, dataset: Dataset, shards: list[Path], output: Path) -> None:
    """Check the shards of all splits and describe them in ``manifest.json``.

    Args:
        name: of the data set.
        dataset: what the shards were made with.
        shards: all shards of all splits.
        output: the manifest; shards are named relative to its directory.

    Raises:
        JetloomError: a missing shard or split, a shard made with other settings, a class without jets in a split, raw
            files with the same content.
    """
    headers = {path: _made_for(read_header(path), name, dataset, path) for path in shards}
    splits: dict[str, Split] = {}
    made_from: dict[str, tuple[str, dict[str, str]]] = {}
    observers: list[str] = []
    for split in dataset.splits:
        some = sorted(
            (path for path in shards if headers[path]["split"] == split), key=lambda path: headers[path]["shard"]
        )
        expected = list(range(dataset.shards.get(split, 1)))
        if (found := [headers[path]["shard"] for path in some]) != expected:
            raise JetloomError(f"split {split}: expected shards {expected}, got {found}")
        sources, observers = (headers[some[0]][key] for key in ("made_from", "observers"))
        for path in some:
            if headers[path]["made_from"] != sources:
                raise JetloomError(
                    f"{path}: made from other skims than {some[0].name}; make all shards of split {split} again"
                )
        for source in sources:
            if other := made_from.get(source["sha256"]):
                raise JetloomError(
                    f"{source['file']} of split {split} has the same content as {other[1]['file']} of split "
                    f"{other[0]}; a jet may be in one split only, and once: take one of them out of `splits`"
                )
            made_from[source["sha256"]] = (split, source)
        splits[split] = _split(dataset, split, some, [headers[path] for path in some], output)
    derived = dataset if isinstance(dataset, DerivedDataset) else None
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        dataset=name,
        kind=dataset.kind,
        simulated=dataset.simulated,
        source=dataset.source,
        feature_set=dataset.feature_set,
        features=[item.name for item in FEATURE_SETS[dataset.feature_set]],
        standardisation=[tuple(item) for item in FEATURE_SETS[dataset.feature_set]],
        classes=dataset.classes,
        observers=observers,
        max_particles=dataset.max_particles,
        buckets=dataset.buckets or [dataset.max_particles],
        selection=dataset.selection,
        seed=dataset.seed,
        derived=derived and derived.derived,
        codes=derived and derived.codes,
        splits=splits,
        made_from=[Source(**source) for _, source in made_from.values()],
    ).signed()
    with appearing(output) as partial:
        partial.write_text(manifest.text(indent=1))


def _checked(facts: dict[str, Any], dataset: Dataset, path: Path) -> dict[str, Any]:
    selection = {key: list(value) for key, value in dataset.selection.items()}
    if facts["classes"] != dataset.classes or facts["selection"] != selection:
        raise JetloomError(f"{path}: skimmed with other classes or another selection; make the skim again")
    return facts


def _made_with(dataset: Dataset, split: str) -> dict[str, Any]:
    """Everything that decides what is in a shard, besides the skims."""
    settings = dataset.model_dump(mode="json", include={"classes", "feature_set", "max_particles", "selection", "seed"})
    return settings | {"buckets": dataset.buckets or [dataset.max_particles], "shards": dataset.shards.get(split, 1)}


def _made_for(header: dict[str, Any], name: str, dataset: Dataset, path: Path) -> dict[str, Any]:
    if header["dataset"] != name or header["split"] not in dataset.splits:
        raise JetloomError(
            f"{path}: a shard of {header['dataset']}, split {header['split']}; expected one of {name}, "
            f"split {' or '.join(dataset.splits)}"
        )
    expected = _made_with(dataset, header["split"])
    if other := [key for key, value in expected.items() if header["made_with"].get(key) != value]:
        raise JetloomError(f"{path}: made with another value of {', '.join(other)}; {AGAIN}")
    widths = {str(width) for width in expected["buckets"]}
    if header["per_class"].keys() != set(dataset.classes) or header["per_bucket"].keys() != widths:
        raise JetloomError(f"{path}: its counts are of other classes or buckets than its own settings; {AGAIN}")
    return header


def _columns(skims: list[Path], dataset: Dataset) -> list[str]:
    present = []
    for path in skims:
        with readable(path):
            present.append(pq.read_schema(path).names)
    for path, names in zip(skims, present, strict=True):
        if missing := [name for name in RAW_COLUMNS[dataset.feature_set] if name not in names]:
            raise JetloomError(
                f"{path}: no column {', '.join(missing)}, which feature set {dataset.feature_set} needs; "
                f"choose another feature_set"
            )
    return needed_columns(dataset.feature_set, [name for name in present[0] if all(name in names for names in present)])


def _pieces(skims: list[Path], shard: int, shards: int, columns: list[str]) -> Iterator[pa.Table]:
    """Rows of slice ``shard`` of ``shards`` of each skim, some row groups at a time, only those that hold them."""
    for path in skims:
        with readable(path):
            opened = pq.ParquetFile(path, page_checksum_verification=True)
        with opened as file:
            rows = file.metadata.num_rows
            first, last = rows * shard // shards, rows * (shard + 1) // shards
            edges = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
            groups = [i for i in range(file.num_row_groups) if edges[i] < last and edges[i + 1] > first]
            while groups:
                begin = edges[groups[0]]
                some = [i for i in groups if edges[i + 1] - begin <= PIECE] or groups[:1]
                end = edges[some[-1] + 1]
                with readable(path):
                    table = file.read_row_groups(some, columns=columns, use_threads=False)
                yield table.slice(max(first - begin, 0), min(last, end) - max(first, begin))
                groups = groups[len(some) :]


class _Places(NamedTuple):
    widths: list[int]
    """Padded length of each bucket."""
    jets: list[int]
    """Jets in each bucket."""
    bucket: NDArray[np.intp]
    """Bucket of each jet, in the order of reading, (n,)."""
    row: NDArray[np.int64]
    """Row of each jet in its bucket, (n,)."""


def _places(dataset: Dataset, length: NDArray[np.integer], order: NDArray[np.integer]) -> _Places:
    widths = dataset.buckets or [dataset.max_particles]
    bucket = np.searchsorted(widths, length)
    row = np.empty(len(length), dtype=np.int64)
    jets = []
    for index in range(len(widths)):
        members = order[bucket[order] == index]
        row[members] = np.arange(len(members))
        jets.append(len(members))
    return _Places(widths, jets, bucket, row)


def _layout(dataset: Dataset, places: _Places, observers: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Type and shape of every array of the shard."""
    layout: dict[str, tuple[type, tuple[int, ...]]] = {}
    tokens = dataset.kind == "tokens"
    angles = {"jets": 2, "points": 3, "tokens": 0}[dataset.kind]
    for width, jets in zip(places.widths, places.jets, strict=True):
        if not jets:
            continue
        group = f"{width:04d}"
        number = len(FEATURE_SETS[dataset.feature_set])
        layout[f"{group}/features"] = (np.int16 if tokens else np.float32, (jets, width, number))
        layout[f"{group}/coordinates"] = (np.float32, (jets, width, angles))
        if dataset.kind == "jets":
            layout[f"{group}/vectors"] = (np.float32, (jets, width, 4))
        layout[f"{group}/length"] = (np.int16, (jets,))
        layout[f"{group}/label"] = (np.int64, (jets,))
        if observers:
            layout[f"{group}/observers"] = (np.float32, (jets, observers))
    return layout


def _fill(arrays: dict[str, NDArray[Any]], places: _Places, rows: slice, jets: Jets) -> None:
    """Put jets, which are ``rows`` in the order of reading, into their places."""
    bucket, row = places.bucket[rows], places.row[rows]
    of_particle, slot = np.repeat(bucket, jets.length), slots(jets.length)
    row_of_particle = np.repeat(row, jets.length)
    for index in np.unique(bucket):
        group = f"{places.widths[index]:04d}"
        inside, members = of_particle == index, bucket == index
        for key in ("features", "coordinates", "vectors"):
            if f"{group}/{key}" in arrays:
                arrays[f"{group}/{key}"][row_of_particle[inside], slot[inside]] = getattr(jets, key)[inside]
        for key in ("length", "label", "observers"):
            if f"{group}/{key}" in arrays:
                arrays[f"{group}/{key}"][row[members]] = getattr(jets, key)[members]


def _split(dataset: Dataset, split: str, shards: list[Path], headers: list[dict[str, Any]], output: Path) -> Split:
    per_class = {name: sum(header["per_class"][name] for header in headers) for name in dataset.classes}
    if empty := [name for name, jets in per_class.items() if not jets]:
        cuts = ", ".join(f"{key} in {list(value)}" for key, value in dataset.selection.items()) or "no cuts"
        raise JetloomError(
            f"split {split}: no jets of class {', '.join(empty)} after the selection ({cuts}); "
            f"widen it, or name fewer classes"
        )
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
