"""Each public set from a local mirror in its publisher's layout to a manifest."""

import pyarrow.parquet as pq
import pytest

from jetloom.config import expand_braces, resolve_dataset
from jetloom.data.fetch.download import download
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from tests.support.data import mirrors

# Jets (or meshes) per split that the small mirrors hold.
EXPECTED = {
    "jetclass": {"train": 96, "val": 48, "test": 48},
    "top_tagging": {"train": 40, "val": 40, "test": 40},
    "quark_gluon": {"train": 40, "val": 40, "test": 40, "test_herwig": 40},
    "hls4ml": {"train": 80, "val": 40, "test": 40},
    # Of eight meshes per class, numbers 4 is for validation; none ends in 9.
    "modelnet10": {"train": 14, "val": 2, "test": 16},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_from_a_local_mirror_to_tensors(tmp_path, name):
    dataset = resolve_dataset(name, mirrors.build(name, tmp_path), name)
    raw = tmp_path / "raw"
    paths = download(dataset, raw)
    assert all(path.exists() for path in paths)
    shards = []
    for split in dataset.splits:
        skims = []
        for file in dataset.raw_files(split):
            skims.append(tmp_path / "skim" / f"{file}.parquet")
            skim(name, dataset, raw / file, skims[-1])
        assert sum(pq.read_metadata(path).num_rows for path in skims) == EXPECTED[name][split]
        for shard in range(dataset.shards.get(split, 1)):
            shards.append(tmp_path / f"tensors/{split}_{shard:03d}.safetensors")
            write_shard(name, dataset, split, shard, skims, shards[-1])
    write_manifest(name, dataset, shards, tmp_path / "tensors/manifest.json")
    manifest = Manifest.read(tmp_path / "tensors/manifest.json")
    assert {split: entry.jets for split, entry in manifest.splits.items()} == EXPECTED[name]
    for entry in manifest.splits.values():
        assert len(entry.per_class) == len(dataset.classes)


@pytest.mark.parametrize("name", ["jetclass", "jetclass-2M", "jetclass-10M", *list(EXPECTED)[1:]])
def test_every_raw_file_of_a_preset_can_be_downloaded(name):
    dataset = resolve_dataset(name, {}, name)
    offered = {raw for file in dataset.files for raw in file.raw_files()}
    wanted = {raw for split in dataset.splits for raw in dataset.raw_files(split)}
    assert wanted <= offered
    assert all(file.url.startswith("http") for file in dataset.files)
    assert len({file.name for file in dataset.files}) == len(dataset.files)
    assert "@" in dataset.citation
    assert dataset.size


def test_jetclass_has_the_files_of_its_paper():
    dataset = resolve_dataset("jetclass", {}, "jetclass")
    assert {split: len(dataset.raw_files(split)) for split in dataset.splits} == {"train": 1000, "val": 50, "test": 200}
    assert len({file.md5 for file in dataset.files}) == 12
    two, ten = (resolve_dataset(f"jetclass-{size}", {}, "") for size in ("2M", "10M"))
    assert len(two.raw_files("train")) == 20
    assert len(ten.raw_files("train")) == 100
    assert two.classes == dataset.classes


def test_all_quark_gluon_files_have_both_sums():
    files = resolve_dataset("quark_gluon", {}, "").files
    assert [file.name for file in files[1:20]] == list(expand_braces("QG_jets_{1..19}.npz"))
    assert [file.name for file in files[20:]] == list(expand_braces("QG_jets_herwig_{0..19}.npz"))
    assert len({file.sha256 for file in files}) == len({file.md5 for file in files}) == 40
