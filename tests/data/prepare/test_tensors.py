"""Shards: their file format, their bytes, their slices and their memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from safetensors.numpy import load_file

from jetloom.config import resolve_dataset
from jetloom.data.prepare import skim as skim_module
from jetloom.data.prepare import tensors
from jetloom.data.prepare.shardfile import create, open_arrays, read_header
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from tests.support.data import make_jetclass as build
from tests.support.skims import dataset, skims

pytestmark = pytest.mark.seconds


def expected_jets(paths, largest):
    """Sums over the kept particles of each jet, computed jet by jet."""
    rows = []
    for path in paths:
        for jet in pyarrow.parquet.read_table(path).to_pylist():
            pt = np.hypot(jet["part_px"], jet["part_py"])
            kept = np.argsort(-pt)[:largest]
            rows.append(
                (jet["label"], len(kept), np.array(jet["part_energy"], np.float32)[kept].tolist(), jet["jet_pt"])
            )
    return sorted(rows)


@pytest.mark.parametrize("rows_at_once", [5, 20_000])
@pytest.mark.parametrize("shards", [1, 4])
def test_shards_hold_the_jets_of_the_skims(tmp_path, monkeypatch, shards, rows_at_once):
    monkeypatch.setattr(skim_module, "ROW_GROUP", 4)
    monkeypatch.setattr(tensors, "PIECE", rows_at_once)
    settings = dataset(shards={"train": shards})
    paths = skims(tmp_path, settings)
    found = []
    for shard in range(shards):
        write_shard("test", settings, "train", shard, paths, tmp_path / f"{shard}.safetensors")
        # The field's own reader, not ours.
        arrays = load_file(tmp_path / f"{shard}.safetensors")
        for width, smallest in ((10, 1), (20, 11), (40, 21)):
            group = {key.partition("/")[2]: value for key, value in arrays.items() if key.startswith(f"{width:04d}/")}
            real = np.arange(width) < group["length"][:, None]
            assert group["length"].min() >= smallest and group["length"].max() <= width
            for key in ("features", "vectors", "coordinates"):
                assert not group[key][~real].any(), "padding is zero"
                assert group[key].dtype == np.float32
            np.testing.assert_array_equal(group["coordinates"], group["features"][..., -2:])
            energies = [vectors[mask, 3].tolist() for vectors, mask in zip(group["vectors"], real, strict=True)]
            pt = group["observers"][:, 0].tolist()
            found += zip(group["label"].tolist(), group["length"].tolist(), energies, pt, strict=True)
        size = sum(value["jets"] for value in [read_header(tmp_path / f"{shard}.safetensors")])
        assert size == sum(number * (shard + 1) // shards - number * shard // shards for number in (50, 33))
    assert sorted(found) == expected_jets(paths, 40)


def test_the_same_jets_and_seed_give_the_same_bytes(tmp_path):
    """Though the ROOT files differ in the time at which they were written."""
    settings = dataset()
    content = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shards = []
        for split, seed in (("train", 1), ("test", 2)):
            shards.append(tmp_path / name / f"{split}.safetensors")
            write_shard("test", settings, split, 0, skims(tmp_path / name, settings, seed=seed), shards[-1])
        write_manifest("test", settings, shards, tmp_path / name / "manifest.json")
        content.append([path.read_bytes() for path in [*shards, tmp_path / name / "manifest.json"]])
    assert (tmp_path / "one" / "QCD_1.root").read_bytes() != (tmp_path / "two" / "QCD_1.root").read_bytes()
    assert content[0] == content[1]


def test_classes_are_mixed_inside_a_shard(tmp_path):
    settings = dataset(buckets=[40])
    write_shard("test", settings, "train", 0, skims(tmp_path, settings, (400, 400)), tmp_path / "a.safetensors")
    label = open_arrays(tmp_path / "a.safetensors")["0040/label"]
    # 40 windows of 20: a chi-square of 40 degrees of freedom, above 80 once in five thousand.
    heads = label.reshape(40, 20).sum(axis=1)
    assert ((heads - 10) ** 2 / 5).sum() < 80
    assert ((heads - 10) ** 2 / 5).sum() > 10, "as random as a shuffle, not dealt out"


def test_a_shard_without_jets_is_a_shard(tmp_path):
    settings = dataset(shards={"train": 3}, classes=["QCD", "Hbb"])
    paths = skims(tmp_path, settings, (2, 2))
    shards = [tmp_path / f"{shard}.safetensors" for shard in range(3)]
    for number, path in enumerate(shards):
        write_shard("test", settings, "train", number, paths, path)
    assert [read_header(path)["jets"] for path in shards] == [0, 2, 2]
    assert open_arrays(shards[0]) == {}
    write_shard("test", settings, "test", 0, skims(tmp_path, settings, seed=5), tmp_path / "t.safetensors")
    write_manifest("test", settings, [*shards, tmp_path / "t.safetensors"], tmp_path / "manifest.json")
    for shuffle in (True, False):
        loader = Loader(tmp_path / "manifest.json", "train", batch_size=3, shuffle=shuffle)
        assert sum(len(batch.label) for batch in loader) == 4


MISTAKES = {
    "split": ({"split": "val"}, "--split val: no such split; allowed: train, test"),
    "shard": ({"shard": 1}, "--shard 1: split train has 1 shards, counted from 0"),
    "nothing": ({"skims": []}, "no skims given"),
    "classes": ({"settings": {"classes": ["Hbb", "QCD"]}}, "skimmed with other classes or another selection"),
    "selection": ({"settings": {"selection": {"jet_pt": [600, None]}}}, "skimmed with other classes or another"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, mistake):
    change, words = MISTAKES[mistake]
    paths = skims(tmp_path, dataset())
    (tmp_path / "out").mkdir()
    with pytest.raises(JetloomError, match=words):
        write_shard(
            "test",
            dataset(**change.get("settings", {})),
            change.get("split", "train"),
            change.get("shard", 0),
            change.get("skims", paths),
            tmp_path / "out" / "a.safetensors",
        )
    assert not list((tmp_path / "out").iterdir())


def test_a_feature_set_that_the_skims_cannot_feed_is_one_line(tmp_path):
    paths = skims(tmp_path, dataset())
    table = pyarrow.parquet.read_table(paths[1])
    facts = pyarrow.parquet.read_metadata(paths[1]).metadata
    pyarrow.parquet.write_table(table.drop_columns(["part_d0val"]).replace_schema_metadata(facts), paths[1])
    with pytest.raises(JetloomError, match=r"Hbb_1\.parquet: no column part_d0val, which feature set full needs"):
        write_shard("test", dataset(), "train", 0, paths, tmp_path / "a.safetensors")
    write_shard("test", dataset(feature_set="kin"), "train", 0, paths, tmp_path / "a.safetensors")


def test_the_manifest_wants_every_shard_made_from_the_same_skims(tmp_path):
    settings = dataset(shards={"train": 2})
    one, two = skims(tmp_path, settings), skims(tmp_path, settings, seed=2)
    shards = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "c")]
    write_shard("test", settings, "train", 0, one, shards[0])
    write_shard("test", settings, "train", 1, two, shards[1])
    write_shard("test", settings, "test", 0, skims(tmp_path, settings, seed=3), shards[2])
    for some, words in (
        (shards, r"b\.safetensors: made from other skims than a\.safetensors"),
        ([shards[0], shards[2]], r"split train: expected shards \[0, 1\], got \[0\]"),
        (shards[:2], "made from other"),
    ):
        with pytest.raises(JetloomError, match=words):
            write_manifest("test", settings, some, tmp_path / "manifest.json")
    assert not (tmp_path / "manifest.json").exists()


def test_a_failure_leaves_no_shard(tmp_path):
    with (
        pytest.raises(RuntimeError),
        create(tmp_path / "a.safetensors", {"0010/label": (np.int64, (3,))}, {}) as (arrays, _),
    ):
        arrays["0010/label"][:] = 1
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_memory_is_bounded_by_the_piece_not_by_the_shard(tmp_path):
    program = (
        "import sys, threading, time; from pathlib import Path; import psutil\n"
        "from jetloom.config import resolve_dataset\n"
        "from jetloom.data.prepare import tensors; tensors.PIECE = 1000; assert 'torch' not in sys.modules\n"
        "d = resolve_dataset('jetclass-sim', {'selection': {}, 'splits': {'train': ['a']}, 'shards': {}}, 'x')\n"
        "highest, me, done = [0], psutil.Process(), threading.Event()\n"
        "def watch():\n"
        "    while not done.is_set():\n"
        "        memory = me.memory_info(); highest[0] = max(highest[0], memory.rss - memory.shared)\n"
        "        time.sleep(0.002)\n"
        "threading.Thread(target=watch).start()\n"
        "try: tensors.write_shard('x', d, 'train', 0, [Path(sys.argv[1])], Path(sys.argv[1] + '.safetensors'))\n"
        "finally: done.set()\n"
        "print(highest[0] / 2**20)"
    )
    settings = resolve_dataset("jetclass-sim", {"selection": {}}, "x")
    peaks = {}
    for jets in (3_000, 20_000):
        counts = np.random.default_rng(0).integers(30, 60, jets)
        raw = build.write(tmp_path / f"{jets}.root", build.columns(counts), cluster=1000)
        skim("x", settings, raw, tmp_path / f"{jets}.parquet")
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path / f"{jets}.parquet")],
                              capture_output=True, text=True, check=True)  # fmt: skip
        peaks[jets] = float(done.stdout)
    # The shard of the larger file has 90 MB; mapped pages of the file itself can be taken back at any time.
    assert (tmp_path / "20000.parquet.safetensors").stat().st_size > 80e6
    assert peaks[20_000] - peaks[3_000] < 40


def test_a_raw_file_named_twice_is_an_error_before_any_job():
    for splits in ({"val": ["{HToBB,ZToQQ}_{000..002}.root"]}, {"val": ["x.root", "x.root"]}):
        with pytest.raises(JetloomError, match=r"splits\..* is in .* already; a file may be listed once") as caught:
            resolve_dataset("jetclass-sim", {"splits": splits}, "test")
        assert "\n" not in str(caught.value)


def test_memory_does_not_grow_with_the_shard(tmp_path):
    """What was filled and released is in the file and no longer in this process."""
    jets = 50_000

    def resident():
        status = Path("/proc/self/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in status if line.startswith(("RssFile", "RssShmem")))

    with create(tmp_path / "a.safetensors", {"0256/features": (np.float32, (jets, 256))}, {}) as (arrays, release):
        before = resident()
        for first in range(0, jets, 10_000):
            arrays["0256/features"][first : first + 10_000] = first
            release()
        assert resident() - before < 5_000  # kB; the shard has 51,200
    stored = open_arrays(tmp_path / "a.safetensors")["0256/features"]
    assert (stored[:, 0] == np.arange(jets) // 10_000 * 10_000).all()
