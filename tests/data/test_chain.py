"""From raw files to batches: nothing lost, nothing twice, nothing half-written."""

from collections import Counter

import numpy as np
import pyarrow.parquet
import pytest
import torch

from jetloom.config import resolve_dataset
from jetloom.data.prepare.features import FEATURE_SETS, standardised
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from tests.support.data.mirrors import root_file

JETS = {"ZJetsToNuNu": 90, "HToBB": 70}
CHANGES = {
    "classes": ["QCD", "Hbb"],
    "splits": {
        "train": ["{ZJetsToNuNu,HToBB}_000.root"],
        "val": ["{ZJetsToNuNu,HToBB}_001.root"],
        "test": ["{ZJetsToNuNu,HToBB}_002.root"],
    },
    "shards": {"train": 3},
    "max_particles": 32,
    "buckets": [8, 16, 32],
    "selection": {},
}


def dataset(**changes):
    return resolve_dataset("jetclass-sim", CHANGES | changes, "test")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Raw files, skims and the manifest of a small set."""
    directory = tmp_path_factory.mktemp("chain")
    settings = dataset()
    shards = []
    for number, split in enumerate(("train", "val", "test")):
        skims = []
        for process, jets in JETS.items():
            raw = directory / f"{process}_{number:03d}.root"
            root_file(raw, process, jets, seed=10 * number + len(process))
            skims.append(raw.with_suffix(".parquet"))
            skim("small", settings, raw, skims[-1], chunk=25)
        for shard in range(settings.shards.get(split, 1)):
            shards.append(directory / f"{split}_{shard}.safetensors")
            write_shard("small", settings, split, shard, skims, shards[-1])
    write_manifest("small", settings, shards, directory / "manifest.json")
    return directory


def jets_of(batches) -> Counter:
    """Jets by their leading particle, which is another one in each."""
    return Counter(tuple(vector.tolist()) for batch in batches for vector in batch.vectors[:, 0])


def test_standardisation_by_hand():
    one = {
        "part_px": 3.0, "part_py": 4.0, "part_pz": 0.0, "part_energy": 10.0, "part_deta": 0.3, "part_dphi": -0.4,
        "part_charge": -1.0, "part_isChargedHadron": 1, "part_isNeutralHadron": 0, "part_isPhoton": 0,
        "part_isElectron": 0, "part_isMuon": 0, "part_d0val": 0.5, "part_d0err": 2.0, "part_dzval": -0.5,
        "part_dzerr": 0.25,
    }  # fmt: skip
    flat = {name: np.array([value], dtype=np.float32) for name, value in one.items()}
    got = standardised("full", flat, np.array([500.0]), np.array([1e9]))
    expected = [
        0.7 * (np.log(5) - 1.7), 0.7 * (np.log(10) - 2.0), 0.7 * (np.log(5 / 500) + 4.7), -5.0, 4 * (0.5 - 0.2),
        -1, 1, 0, 0, 0, 0, np.tanh(0.5), 1.0, np.tanh(-0.5), 0.25, 0.3, -0.4,
    ]  # fmt: skip
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)
    assert [len(FEATURE_SETS[name]) for name in ("kin", "kinpid", "kindisp", "full", "xyz")] == [7, 13, 11, 17, 3]


def test_the_logarithm_of_nothing_is_zero():
    flat = {name: np.zeros(1, dtype=np.float32) for name in ("part_px", "part_py", "part_pz", "part_energy")}
    flat |= {"part_deta": np.zeros(1, dtype=np.float32), "part_dphi": np.zeros(1, dtype=np.float32)}
    assert np.isfinite(standardised("kin", flat, np.array([500.0]), np.array([600.0]))).all()


@pytest.mark.seconds
def test_cuts_are_closed_ranges(chain, tmp_path):
    raw = chain / "HToBB_000.root"
    pt = pyarrow.parquet.read_table(raw.with_suffix(".parquet"))["jet_pt"].to_numpy()
    low, high = np.sort(pt)[[10, 40]]
    skim("small", dataset(selection={"jet_pt": [float(low), float(high)]}), raw, tmp_path / "cut.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "cut.parquet").num_rows == 31


def test_a_cut_on_nothing_is_one_line_and_leaves_no_file(chain, tmp_path):
    with pytest.raises(JetloomError, match=r"jet_weight.*jet_pt") as caught:
        skim("small", dataset(selection={"jet_weight": [0, 1]}), chain / "HToBB_000.root", tmp_path / "cut.parquet")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_shards_hold_every_jet_once(chain):
    manifest = Manifest.read(chain / "manifest.json")
    for split, entry in manifest.splits.items():
        assert entry.jets == sum(JETS.values()) == sum(entry.per_bucket.values())
        assert entry.per_class == {"QCD": 90, "Hbb": 70}
        stored = jets_of(Loader(chain / "manifest.json", split, batch_size=16, shuffle=False))
        assert len(stored) == stored.total() == sum(JETS.values())


def test_the_same_seed_gives_the_same_bytes(chain, tmp_path):
    skims = [chain / f"{process}_000.parquet" for process in JETS]
    for name, seed in (("same", 1), ("other", 2)):
        write_shard("small", dataset(seed=seed), "train", 1, skims, tmp_path / name)
    assert (tmp_path / "same").read_bytes() == (chain / "train_1.safetensors").read_bytes()
    assert (tmp_path / "other").read_bytes() != (tmp_path / "same").read_bytes()


def test_the_softest_particles_are_cut_and_counted(chain):
    manifest = Manifest.read(chain / "manifest.json")
    table = pyarrow.parquet.read_table([chain / f"{process}_000.parquet" for process in JETS])
    counts = np.array([len(jet) for jet in table["part_px"]])
    assert manifest.splits["train"].truncated == (counts > 32).sum() > 0
    expected = sorted(
        round(float(np.sort(np.hypot(px.values.to_numpy(), py.values.to_numpy()))[::-1][:32].sum()), 1)
        for px, py in zip(table["part_px"], table["part_py"], strict=True)
    )
    kept = []
    for batch in Loader(chain / "manifest.json", "train", batch_size=16, shuffle=False):
        pt = batch.vectors[..., :2].norm(dim=-1)
        assert (pt[:, :-1] >= pt[:, 1:]).all(), "falling pT, padding last"
        assert not batch.features[~batch.mask].any(), "padding is zero"
        kept += pt.double().sum(dim=1).tolist()
    np.testing.assert_allclose(sorted(kept), expected, rtol=1e-3)


def test_an_epoch_has_every_jet_once_and_another_order_each_time(chain):
    loader = Loader(chain / "manifest.json", "train", batch_size=16, shuffle=True, seed=3)
    epochs = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        length, batches = len(loader), list(loader)
        assert len(batches) == length
        assert jets_of(batches).total() == len(jets_of(batches)) == sum(JETS.values())
        epochs.append(torch.cat([batch.vectors[:, 0] for batch in batches]))
    assert not torch.equal(epochs[0], epochs[1])
    loader.set_epoch(1)
    assert torch.equal(torch.cat([batch.vectors[:, 0] for batch in loader]), epochs[1])


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_jets_in_equal_parts(chain, world):
    parts = [
        list(Loader(chain / "manifest.json", "train", batch_size=8, shuffle=True, rank=rank, world_size=world))
        for rank in range(world)
    ]
    lengths = {tuple(len(batch.label) for batch in part) for part in parts}
    assert len(lengths) == 1, "the same number of jets in every step"
    together = jets_of(batch for part in parts for batch in part)
    assert together.total() == len(together), "no jet on two ranks"
    # Equal parts leave out fewer than one jet for each rank and bucket.
    assert sum(JETS.values()) - 3 * (world - 1) <= together.total() <= sum(JETS.values())


def test_a_resumed_epoch_is_the_rest_of_it(chain):
    loader = Loader(chain / "manifest.json", "train", batch_size=16, shuffle=True, seed=5)
    loader.set_epoch(2)
    iterator = iter(loader)
    for _ in range(4):
        next(iterator)
    state = loader.state_dict()
    rest = [batch.features for batch in iterator]
    other = Loader(chain / "manifest.json", "train", batch_size=16, shuffle=True, seed=5)
    other.load_state_dict(state)
    assert len(other) == len(rest)
    assert all(torch.equal(a, b.features) for a, b in zip(rest, other, strict=True))


def test_shorter_epochs_go_on_where_the_last_one_ended(chain):
    loader = Loader(chain / "manifest.json", "train", batch_size=16, shuffle=True, samples_per_epoch=80)
    whole = Loader(chain / "manifest.json", "train", batch_size=16, shuffle=True)
    first = [batch.features for batch in whole]
    pieces = []
    while len(pieces) < len(first):
        pieces += [batch.features for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(first, pieces[: len(first)], strict=True))


def test_one_class_cut_away_is_one_line_without_a_manifest(chain, tmp_path):
    settings = dataset(shards={}, classes=["QCD", "Hbb"])
    shards = []
    for number, split in enumerate(("train", "val", "test")):
        shards.append(tmp_path / f"{split}.safetensors")
        write_shard("small", settings, split, 0, [chain / f"HToBB_00{number}.parquet"], shards[-1])
    with pytest.raises(JetloomError, match="QCD"):
        write_manifest("small", settings, shards, tmp_path / "manifest.json")
    assert not (tmp_path / "manifest.json").exists()


def test_one_file_in_two_splits_is_refused(chain, tmp_path):
    settings = dataset(shards={})
    shards = []
    for split in ("train", "val", "test"):
        shards.append(tmp_path / f"{split}.safetensors")
        write_shard("small", settings, split, 0, [chain / f"{process}_000.parquet" for process in JETS], shards[-1])
    with pytest.raises(JetloomError, match="_000"):
        write_manifest("small", settings, shards, tmp_path / "manifest.json")


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_a_damaged_shard_is_one_line(chain, tmp_path, damage):
    content = (chain / "train_0.safetensors").read_bytes()
    bad = {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"\xff" * 4000}[damage]
    for name in ("train_0", "train_1", "train_2"):
        (tmp_path / f"{name}.safetensors").write_bytes(bad if name == "train_0" else content)
    (tmp_path / "manifest.json").write_text((chain / "manifest.json").read_text())
    with pytest.raises(JetloomError, match="train_0") as caught:
        list(Loader(tmp_path / "manifest.json", "train", batch_size=4, shuffle=False))
    assert "\n" not in str(caught.value)
