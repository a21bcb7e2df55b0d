"""The loader's order at a scale that a test can hold: mixing, ranks, short epochs, and what it refuses.

That every jet comes once and that a resumed epoch is the rest of it stands in test_chain.py.
"""

import errno
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import jetloom.data
from jetloom.config import Reweighting
from jetloom.data.prepare.manifest import SCHEMA_VERSION, Manifest
from jetloom.data.read import loader as module
from jetloom.data.read.loader import Loader, ShardFile
from jetloom.errors import JetloomError

CLASSES = 5
BUCKETS = (4, 8)


def write(directory, jets_of_shards, buckets=BUCKETS, bias=0.0):
    """Shards of numbered jets, mixed as tensors are; ``bias``: how much longer the jets of the last class are."""
    generator = np.random.default_rng(1)
    number, entries = 0, []
    for shard, jets in enumerate(jets_of_shards):
        label = generator.integers(0, CLASSES, jets)
        long = generator.random(jets) < 0.5 + bias * (label == CLASSES - 1)
        arrays = {}
        for index, width in enumerate(buckets):
            some = label[long == bool(index)]
            if not len(some):
                continue
            arrays[f"{width:04d}/features"] = np.zeros((len(some), width, 1), np.float32)
            arrays[f"{width:04d}/coordinates"] = np.zeros((len(some), width, 2), np.float32)
            arrays[f"{width:04d}/length"] = np.full(len(some), width, np.int16)
            arrays[f"{width:04d}/label"] = some
            arrays[f"{width:04d}/observers"] = np.arange(number, number + len(some), dtype=np.float32)[:, None]
            number += len(some)
        save_file(arrays, directory / f"{shard}.safetensors")
        entries.append({"file": f"{shard}.safetensors", "sha256": "0" * 64, "jets": jets})
    split = {
        "jets": number, "per_class": {}, "per_bucket": {}, "truncated": 0, "shards": entries,
    }  # fmt: skip
    manifest = Manifest.model_validate({
        "schema_version": SCHEMA_VERSION, "dataset": "toy", "kind": "jets", "simulated": True,
        "source": "jetclass", "feature_set": "kin", "features": ["one"], "standardisation": [["one"] + [None] * 4],
        "classes": [str(index) for index in range(CLASSES)],
        "observers": ["number"], "max_particles": buckets[-1], "buckets": list(buckets), "selection": {}, "seed": 1,
        "splits": {"train": split}, "made_from": [],
    }).signed()  # fmt: skip
    (directory / "manifest.json").write_text(manifest.model_dump_json())
    return directory / "manifest.json"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """9 shards of about 1,000 jets."""
    return write(tmp_path_factory.mktemp("many"), [1000, 900, 1100, 1003, 997, 1, 1000, 1050, 950])


def numbers(loader):
    return [batch.observers[:, 0].int().tolist() for batch in loader]


def make(manifest, **options):
    return Loader(manifest, "train", **{"batch_size": 64, "shuffle": True} | options)


def test_every_jet_of_many_shards_comes_once(many):
    for options in ({}, {"shuffle": False}, {"batch_size": 7}, {"batch_size": 100_000}, {"workers": 2}):
        seen = [jet for batch in numbers(make(many, **options)) for jet in batch]
        assert sorted(seen) == list(range(8001))


def test_batches_are_of_one_width_and_no_larger_than_asked_for(many):
    for batch in make(many):
        assert 1 <= len(batch.label) <= 64
        assert batch.features.shape[1] == batch.mask.shape[1] in BUCKETS
        assert batch.label.dtype == torch.int64 and batch.mask.dtype == torch.bool and batch.mask.all()
        assert len(batch.observers) == len(batch.label)


def test_an_unshuffled_epoch_is_in_stored_order(many):
    seen = [jet for batch in numbers(make(many, shuffle=False)) for jet in batch]
    assert seen == list(range(8001))


def test_the_seed_and_the_epoch_make_the_order(many):
    def order(seed, epoch, **options):
        loader = make(many, seed=seed, **options)
        loader.set_epoch(epoch)
        return numbers(loader)

    assert order(1, 0) == order(1, 0) == order(1, 0, workers=3)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_a_loader_goes_on_to_the_next_epoch_by_itself(many):
    loader, second = make(many), make(many)
    second.set_epoch(1)
    first = numbers(loader)
    assert numbers(loader) == numbers(second) != first


def test_ranks_get_equal_and_disjoint_parts_at_every_step(many):
    for world in (2, 3, 8):
        parts = [numbers(make(many, rank=rank, world_size=world)) for rank in range(world)]
        for step in zip(*parts, strict=True):
            assert len({len(part) for part in step}) == 1 and len(step[0]) > 0
        seen = [jet for part in parts for batch in part for jet in batch]
        assert len(seen) == len(set(seen))
        # Fewer than one jet per rank is left out of each bucket of the three groups of open shards.
        assert len(seen) > 8001 - len(BUCKETS) * 3 * world
        assert {len(make(many, rank=rank, world_size=world)) for rank in range(world)} == {len(parts[0])}


def test_unshuffled_ranks_leave_nothing_out(many):
    parts = [numbers(make(many, shuffle=False, rank=rank, world_size=3)) for rank in range(3)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(jet for part in parts for batch in part for jet in batch) == list(range(8001))


def test_what_is_left_out_is_another_part_each_epoch(many):
    loader, seen = make(many, drop_last=True, batch_size=300), set()
    for _ in range(6):
        batches = numbers(loader)
        assert {len(batch) for batch in batches} == {300}
        assert len(batches) * 300 < 8001
        seen |= {jet for batch in batches for jet in batch}
    assert len(seen) > 7990


@pytest.mark.seconds
def test_batches_of_one_size_show_each_jet_once_in_the_mean(tmp_path):
    """So that the mean of the gradients of a pass is that of all jets, whatever bucket they are in."""
    few, passes = write(tmp_path, [301, 207, 250], bias=0.3), 300
    counts = np.zeros(758)
    for epoch in range(passes):
        loader = at(few, epoch, one_size=True)
        length, batches = len(loader), numbers(loader)
        assert len(batches) == length
        assert {len(batch) for batch in batches} == {64}
        assert all(len(set(batch)) == 64 for batch in batches)
        np.add.at(counts, np.concatenate(batches), 1)
    # 4 standard deviations of a single jet and of all.
    assert abs(counts / passes - 1).max() < 0.06
    assert abs(counts.mean() / passes - 1) < 0.01


def test_batches_of_one_size_go_on_in_the_middle_and_are_the_same_for_all_ranks(many):
    whole = numbers(at(many, 2, one_size=True))
    loader = make(many, one_size=True)
    loader.load_state_dict({"epoch": 2, "position": 30})
    assert numbers(loader) == whole[30:]
    ranks = [numbers(at(many, 2, one_size=True, rank=rank, world_size=2)) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1])
    pairs = [(len(one), len(two)) for one, two in zip(*ranks, strict=True)]
    # A lone jet of a group has no full batch.
    assert set(pairs) <= {(64, 64)} | {pair for pair in pairs if sum(pair) < 128}
    assert pairs.count((64, 64)) > 50


def test_short_epochs_use_every_jet_before_one_comes_again(many):
    loader = make(many, samples_per_epoch=3000)
    whole = [batch for number in range(3) for batch in numbers(at(many, number))]
    batches = []
    for _ in range(7):
        length, epoch = len(loader), numbers(loader)
        assert len(epoch) == length == 47
        batches += epoch
    assert batches == whole[: len(batches)]


def at(manifest, epoch, **options):
    loader = make(manifest, **options)
    loader.set_epoch(epoch)
    return loader


def test_short_epochs_resume_in_the_middle(many):
    whole = numbers(at(many, 5, samples_per_epoch=3000))
    loader = make(many, samples_per_epoch=3000)
    loader.load_state_dict({"epoch": 5, "position": 30})
    assert len(loader) == 17
    assert loader.state_dict() == {"epoch": 5, "position": 30}
    assert numbers(loader) == whole[30:]
    assert loader.state_dict() == {"epoch": 6, "position": 0}


def test_epochs_longer_than_the_set_go_round(many):
    seen = np.bincount([jet for batch in numbers(make(many, samples_per_epoch=20_000)) for jet in batch])
    assert set(seen) <= {2, 3}


def chi_square(labels, size, share):
    """Of class counts in windows of so many jets; its degrees of freedom."""
    windows = len(labels) // size
    counts = np.stack(
        [np.bincount(part, minlength=CLASSES) for part in labels[: windows * size].reshape(windows, size)]
    )
    return ((counts - size * share) ** 2 / (size * share)).sum(), windows * (CLASSES - 1)


@pytest.mark.parametrize("size", [50, 200, 1000])
def test_windows_mix_classes_as_the_set_does(many, size):
    labels = np.concatenate([batch.label.numpy() for batch in make(many, seed=4)])
    statistic, freedom = chi_square(labels, size, np.bincount(labels) / len(labels))
    assert abs(statistic - freedom) < 4.5 * np.sqrt(2 * freedom)


def test_buckets_do_not_bias_the_epoch_though_they_do_a_batch(tmp_path):
    """Jets of the last class are longer: a batch of one bucket is biased, windows of many batches are not."""
    manifest = write(tmp_path, [4000, 4000], bias=0.3)
    batches = [batch for batch in make(manifest, seed=2)]
    labels = np.concatenate([batch.label.numpy() for batch in batches])
    share = np.bincount(labels) / len(labels)
    last = {width: np.concatenate([b.label.numpy() for b in batches if b.mask.shape[1] == width]) == CLASSES - 1
            for width in BUCKETS}  # fmt: skip
    assert last[8].mean() > 2 * last[4].mean()
    parts = labels[: len(labels) // 10 * 10].reshape(10, -1)
    np.testing.assert_allclose([(part == CLASSES - 1).mean() for part in parts], share[-1], atol=0.08)


def test_the_plan_of_a_large_set_is_made_as_it_is_needed(monkeypatch, tmp_path, many):
    """100 million jets in 200 shards: the order of four shards is in memory, and late epochs start at once."""
    read = Manifest.read(many)
    entries = [read.splits["train"].shards[0]] * 200
    split = read.splits["train"].model_copy(update={"shards": entries, "jets": 100_000_000})
    (tmp_path / "manifest.json").write_text(read.model_copy(update={"splits": {"train": split}}).model_dump_json())
    monkeypatch.setattr(module, "ShardFile", lambda path: SimpleNamespace(jets=lambda width: 250_000))
    began = time.process_time()
    loader = Loader(tmp_path / "manifest.json", "train", batch_size=512, shuffle=True, samples_per_epoch=10_240_000)
    assert len(loader) == 20_000
    first = next(loader._plans(49, 19_000))
    assert time.process_time() - began < 3
    assert len(first.shards) == 4
    assert len(first.rows) == pytest.approx(512, abs=1)


def test_mistakes_are_one_line(many, tmp_path):
    with pytest.raises(JetloomError, match=r"no split 'test'; allowed: train"):
        Loader(many, "test", batch_size=4, shuffle=False)
    with pytest.raises(JetloomError, match="no such manifest"):
        Loader(tmp_path / "manifest.json", "train", batch_size=4, shuffle=False)
    few = write(tmp_path, [10])
    with pytest.raises(JetloomError, match=r"split train has 10 jets, too few .* lower batch_size") as caught:
        Loader(few, "train", batch_size=50, shuffle=True, drop_last=True, samples_per_epoch=100)
    assert "\n" not in str(caught.value)
    with pytest.raises(JetloomError, match="on each of 32 processes"):
        Loader(few, "train", batch_size=50, shuffle=True, world_size=32)
    (tmp_path / "0.safetensors").unlink()
    with pytest.raises(JetloomError, match=r"0\.safetensors: no such shard"):
        Loader(few, "train", batch_size=4, shuffle=False)


def test_the_package_offers_batch_and_loader():
    assert jetloom.data.Loader is Loader
    assert jetloom.data.Batch is jetloom.batch.Batch
    with pytest.raises(AttributeError):
        jetloom.data.Nothing  # noqa: B018


def test_training_batches_are_gathered_fast(tmp_path):
    """The goal is 100,000 jets a second and core with 17 features; a busy machine is allowed a quarter of it."""
    width, jets = 48, 6000
    arrays = {
        f"{width:04d}/features": np.zeros((jets, width, 17), np.float32),
        f"{width:04d}/vectors": np.zeros((jets, width, 4), np.float32),
        f"{width:04d}/coordinates": np.zeros((jets, width, 2), np.float32),
        f"{width:04d}/length": np.full(jets, width, np.int16),
        f"{width:04d}/label": np.zeros(jets, np.int64),
    }
    manifest = write(tmp_path, [1], buckets=(4, width))
    save_file(arrays, tmp_path / "0.safetensors")
    loader = Loader(manifest, "train", batch_size=128, shuffle=True)
    began, seen = time.process_time(), 0
    for _ in range(5):
        seen += sum(len(batch.label) for batch in loader)
    assert seen == 5 * jets
    assert seen / (time.process_time() - began) > 25_000


def test_neighbours_change_and_runs_are_cut_anew(many):
    """Jets that are read together one time are mostly apart the next: the cut of the runs moves."""
    pairs = []
    for epoch in range(2):
        loader = make(many, batch_size=256)
        loader.set_epoch(epoch)
        together = [set(batch) for batch in numbers(loader)]
        pairs.append({(jet, jet + 40) for part in together for jet in part if jet + 40 in part})
    # Runs have 16 jets: 40 apart are in one batch by chance only.
    assert len(pairs[0] & pairs[1]) < 0.3 * len(pairs[0])


def test_reweighting_makes_classes_and_spectrum_flat(tmp_path):
    """Class counts in windows follow the wanted shares, by chi-square; passes differ and have equally many jets."""
    manifest = write(tmp_path, [6000, 6000])
    arrays = [load_file(tmp_path / f"{shard}.safetensors") for shard in range(2)]
    generator = np.random.default_rng(5)
    for shard, found in enumerate(arrays):
        for width in BUCKETS:
            # The observer becomes a falling spectrum; class 0 is rare.
            key = f"{width:04d}/observers"
            found[key] = generator.exponential(0.4, found[key].shape).astype(np.float32)
            label = found[f"{width:04d}/label"]
            label[(label == 0) & (generator.random(len(label)) < 0.5)] = 1
        save_file(found, tmp_path / f"{shard}.safetensors")
    weights = Reweighting(observer="number", edges=[0.3, 0.6, 1.0], least=0.001)
    loader = make(manifest, seed=6, reweighting=weights)
    passes = [[(batch.label.numpy(), batch.observers[:, 0].numpy()) for batch in loader] for _ in range(2)]
    label, value = (np.concatenate(column) for column in zip(*passes[0], strict=True))
    assert len(label) == sum(len(label) for label, _ in passes[1])
    assert not np.array_equal(label, np.concatenate([label for label, _ in passes[1]]))
    assert len(set(value.tolist())) > 0.99 * len(value)  # nobody twice
    cell = label * 4 + np.searchsorted(weights.edges, value, side="right")
    counts = np.bincount(cell, minlength=4 * CLASSES)
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < 19 + 4.5 * np.sqrt(2 * 19)
    for size in (50, 200):
        statistic, freedom = chi_square(label, size, np.full(CLASSES, 1 / CLASSES))
        assert abs(statistic - freedom) < 4.5 * np.sqrt(2 * freedom)
    resumed = make(manifest, seed=6, reweighting=weights)
    resumed.load_state_dict({"epoch": 1, "position": 5})
    rest = [labels.tolist() for labels, _ in passes[1][5:]]
    assert [batch.label.tolist() for batch in resumed] == rest
    parts = [numbers(make(manifest, seed=6, reweighting=weights, rank=rank, world_size=3)) for rank in range(3)]
    assert len({len(part) for part in parts}) == 1


def test_reweighting_never_leaves_out_more_than_asked_for(many):
    loader = make(many, reweighting=Reweighting(least=0.9))
    assert sum(map(len, numbers(loader))) > 0.89 * 8001
    with pytest.raises(JetloomError, match=r"training\.reweighting\.observer: no 'jet_pt'; allowed: number"):
        make(many, reweighting=Reweighting(observer="jet_pt", edges=[500, 600]))
    for mistake in ({"observer": "jet_pt"}, {"edges": [1, 2]}, {"observer": "jet_pt", "edges": [2, 1]}):
        with pytest.raises(ValueError, match=r"belong together|must rise"):
            Reweighting(**mistake)


@pytest.mark.parametrize("world", [2, 16, 64])
def test_a_bucket_smaller_than_the_training_stops_nobody(tmp_path, world):
    """3 jets in the last bucket and 16 processes: same number of batches everywhere, disjoint, nobody waits."""
    manifest = write(tmp_path, [1000], bias=-1)
    arrays = load_file(tmp_path / "0.safetensors")
    small = {key: array[:3] if key.startswith("0008/") else array for key, array in arrays.items()}
    save_file(small, tmp_path / "0.safetensors")
    for workers in (0, 2):
        parts = [
            numbers(make(manifest, batch_size=4, rank=rank, world_size=world, workers=workers)) for rank in range(world)
        ]
        for step in zip(*parts, strict=True):
            assert len({len(part) for part in step}) == 1 and len(step[0]) > 0
        seen = [jet for part in parts for batch in part for jet in batch]
        assert len(seen) == len(set(seen)) > len(small["0004/label"]) - world


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU")
def test_batches_for_a_gpu_are_page_locked(many):
    for batch in make(many, pin=True, workers=1):
        assert all(part.is_pinned() for part in batch if part is not None)
        assert torch.equal(batch.label.to("cuda", non_blocking=True).cpu(), batch.label)


def test_pinned_batches_are_asked_for_as_such(many, monkeypatch):
    """Without a GPU: every tensor of a batch is made page-locked, none is copied there afterwards."""
    asked = []
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda tensor, pin_memory: asked.append(pin_memory) or empty_like(tensor))
    batch = next(iter(make(many, pin=True)))
    assert asked == [True] * 6  # features, coordinates, length, label, observers, mask
    assert batch.mask.all()


def test_two_processes_share_the_batches_of_one(tmp_path):
    """The same jets in each step as with one process and batches twice as large: training is the same."""
    manifest = write(tmp_path, [6000, 2000], bias=-1)
    for shard in range(2):
        arrays = load_file(tmp_path / f"{shard}.safetensors")
        even = {key: array[: len(array) // 256 * 256] for key, array in arrays.items()}
        save_file(even, tmp_path / f"{shard}.safetensors")
    whole = numbers(make(manifest, batch_size=128))
    halves = [numbers(make(manifest, batch_size=64, rank=rank, world_size=2)) for rank in range(2)]
    shared = [sorted(one + other) for one, other in zip(*halves, strict=True)]
    assert shared == [sorted(batch) for batch in whole]


COUNT = """
import resource, sys
from pathlib import Path
from jetloom.data.read.loader import Loader

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(sum(len(batch.label) for batch in Loader(Path(sys.argv[1]), "train", batch_size=64, shuffle=True)))
"""


@pytest.mark.seconds
def test_shards_may_be_more_than_the_open_files_of_a_process(tmp_path):
    manifest = write(tmp_path, [20] * 100)
    done = subprocess.run([sys.executable, "-c", COUNT, manifest], capture_output=True, text=True, check=False)
    assert done.stdout == "2000\n", done.stderr


def test_a_limit_of_the_system_is_not_blamed_on_the_shard(tmp_path, monkeypatch):
    manifest = write(tmp_path, [20])

    def refuse(*given, **more):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(JetloomError, match=r"0\.safetensors: cannot be opened \(Too many open files\); raise"):
        ShardFile(manifest.with_name("0.safetensors"))


def test_shards_of_any_number_are_found(tmp_path):
    """Names are those that the manifest gives; their length means nothing."""
    manifest = write(tmp_path, [50, 60])
    text = manifest.read_text()
    for old, new in (("0", "train_0000"), ("1", "train_123456")):
        (tmp_path / f"{old}.safetensors").rename(tmp_path / f"{new}.safetensors")
        text = text.replace(f'"{old}.safetensors"', f'"{new}.safetensors"')
    manifest.write_text(text)
    assert sorted(jet for batch in numbers(make(manifest)) for jet in batch) == list(range(110))


def shard_of(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        {"0004/label": entry([10**12], [0, 8 * 10**12], "I64")},
        {"0004/label": entry([10**12], [0, 8], "I64")},
        {"0004/label": entry([-1], [0, 8], "I64")},
        {"0004/label": entry([1], [-8, 8], "I64")},
        {"0004/label": entry([1], [0, 4, 8], "I64")},
        {"0004/label": entry([1], ["0", 8], "I64")},
        {"0004/label": entry([1], [0, 8], "OBJECT")},
        {"0004/label": entry([1], [0, 8], "I64") | {"code": "x"}},
        {"0004/label": 1},
        {"\u0664/label": entry([1], [0, 8], "I64")},
        {"9" * 5000 + "/label": entry([1], [0, 8], "I64")},
        b"[" * 100_000,
        b"[]",
        b"\xff",
    ],
)
def test_a_header_that_lies_is_one_line(tmp_path, header):
    with pytest.raises(JetloomError, match=r"bad\.safetensors: ") as caught:
        ShardFile(shard_of(tmp_path / "bad.safetensors", header, bytes(8)))
    assert "\n" not in str(caught.value)


def test_an_enormous_header_is_not_read(tmp_path):
    path = tmp_path / "bad.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 10**11))
        file.truncate(10**12)
    with pytest.raises(JetloomError, match="a header of 100000000000 bytes"):
        ShardFile(path)
