"""The manifest: what it says of the shards is true, and shards that are not what it would say are refused."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jetloom.data.prepare.manifest import Manifest
from jetloom.data.prepare.skim import content_hash
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from tests.support.skims import dataset, skims

BITS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Skims, two shards of train and one of test, and their manifest."""
    directory = tmp_path_factory.mktemp("made")
    settings = dataset(shards={"train": 2})
    of_train, of_test = skims(directory, settings), skims(directory, settings, (20, 30), seed=2)
    shards = [directory / f"{name}.safetensors" for name in ("train_0", "train_1", "test_0")]
    for path, split, number, some in zip(
        shards, ("train", "train", "test"), (0, 1, 0), (of_train, of_train, of_test), strict=True
    ):
        write_shard("test", settings, split, number, some, path)
    write_manifest("test", settings, shards, directory / "manifest.json")
    return directory, settings, shards, of_train


def test_counts_and_checksums_are_those_of_the_files(made):
    directory, settings, _, _ = made
    manifest = Manifest.read(directory / "manifest.json")
    for split, entry in manifest.splits.items():
        arrays = [load_file(directory / shard.file) for shard in entry.shards]
        labels = np.concatenate([value for some in arrays for key, value in some.items() if key.endswith("label")])
        assert entry.per_class == dict(zip(settings.classes, np.bincount(labels).tolist(), strict=True))
        assert entry.per_bucket == {
            str(width): sum(len(some.get(f"{width:04d}/label", ())) for some in arrays) for width in (10, 20, 40)
        }
        assert entry.jets == len(labels) == sum(shard.jets for shard in entry.shards)
        assert len(entry.shards) == (2 if split == "train" else 1)
        for shard in entry.shards:
            assert shard.sha256 == content_hash(directory / shard.file)
    assert [source.file for source in manifest.made_from] == [f"{label}_{seed}.root" for seed in (1, 2)
                                                              for label in ("QCD", "Hbb")]  # fmt: skip


def test_the_digest_is_over_everything_else(made):
    directory = made[0]
    values = json.loads((directory / "manifest.json").read_text())
    digest = values.pop("digest")
    # The same JSON without spaces, made by another library.
    assert digest == hashlib.sha256(json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
    manifest = Manifest.read(directory / "manifest.json")
    assert manifest.signed() == manifest
    for key, value in (("seed", 2), ("classes", ["Hbb", "QCD"]), ("dataset", "x"), ("splits", {})):
        assert manifest.model_copy(update={key: value}).signed().digest != digest
    # Words and what an evaluation reads are not in it: they make no data again.
    assert not {"title", "background", "working_points"} & values.keys()


OTHER_SETTINGS = {
    "classes": {"classes": ["Hbb", "QCD"]},
    "feature_set": {"feature_set": "kin"},
    "buckets": {"buckets": [20, 40]},
    "max_particles, buckets": {"max_particles": 60, "buckets": [10, 60]},
    "seed": {"seed": 5},
    "selection": {"selection": {"jet_pt": [600, None]}},
    "shards": {"shards": {"train": 3}},
}


@pytest.mark.parametrize("what", OTHER_SETTINGS)
def test_shards_made_with_other_settings_are_one_line(made, tmp_path, what):
    """Else their labels would be read as those of other classes, their columns as other features."""
    _, _, shards, _ = made
    settings = dataset(**{"shards": {"train": 2}} | OTHER_SETTINGS[what])
    with pytest.raises(JetloomError, match=rf"train_0\.safetensors: made with another value of {what}; make it again"):
        write_manifest("test", settings, shards, tmp_path / "manifest.json")
    assert not list(tmp_path.iterdir())


def test_shards_of_another_data_set_are_one_line(made, tmp_path):
    _, settings, shards, _ = made
    with pytest.raises(JetloomError, match="a shard of test, split train; expected one of mine, split train or test"):
        write_manifest("mine", settings, shards, tmp_path / "manifest.json")


def test_a_skim_given_twice_is_one_line(made, tmp_path):
    of_train, settings = made[3], dataset()
    write_shard("test", settings, "train", 0, [*of_train, of_train[0]], tmp_path / "a.safetensors")
    write_shard("test", settings, "test", 0, of_train[1:], tmp_path / "b.safetensors")
    with pytest.raises(JetloomError, match=r"QCD_1\.root of split train has the same content as QCD_1\.root of split"):
        write_manifest("test", settings, [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


def damaged(path, content, first, last, seed):
    """The file with one flipped bit in bytes ``first`` to ``last``, time and again."""
    generator = np.random.default_rng(seed)
    for _ in range(BITS):
        bad = bytearray(content)
        bad[generator.integers(first, last)] ^= 1 << int(generator.integers(8))
        path.write_bytes(bad)
        yield path


def one_line(use) -> bool:
    """Whether the damage was found; anything but JetloomError goes through."""
    try:
        use()
    except JetloomError as error:
        assert "\n" not in str(error)
        return True
    return False


def test_damaged_headers_of_shards_are_one_line_or_harmless(made, tmp_path):
    directory, settings, shards, _ = made
    content = shards[0].read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    (tmp_path / "manifest.json").write_text((directory / "manifest.json").read_text())
    for path in shards[1:]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    some = [tmp_path / path.name for path in shards]
    found = 0
    for _ in damaged(some[0], content, 0, header, seed=3):
        found += one_line(lambda: list(Loader(tmp_path / "manifest.json", "train", batch_size=8, shuffle=False)))
        one_line(lambda: write_manifest("test", settings, some, tmp_path / "again.json"))
    assert found > BITS / 3


def test_damaged_skims_are_found(made, tmp_path):
    """Pages have checksums: of the flipped bits in the columns, those that are read at all are found."""
    settings, of_train = made[1], made[3]
    content, path = of_train[0].read_bytes(), tmp_path / "bad.parquet"
    found = 0
    for _ in damaged(path, content, 0, len(content), seed=4):
        found += one_line(lambda: write_shard("test", settings, "train", 0, [path], tmp_path / "a.safetensors"))
    assert found > 0.8 * BITS
    for part in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:part])
        with pytest.raises(JetloomError, match=r"bad\.parquet: not a readable Parquet file; make the skim again"):
            write_shard("test", settings, "train", 0, [path], tmp_path / "b.safetensors")
    with pytest.raises(JetloomError, match=r"none\.parquet: no such skim"):
        write_shard("test", settings, "train", 0, [tmp_path / "none.parquet"], tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"head.weight": np.zeros((2, 2), np.float32)}, "head.weight is no array of a shard"),
        ({"0010/label": np.zeros(3, np.int64)}, "the arrays of bucket 10 do not fit together"),
    ],
)
def test_other_safetensors_are_no_shards(made, tmp_path, arrays, words):
    directory, settings, shards, _ = made
    (tmp_path / "manifest.json").write_text((directory / "manifest.json").read_text())
    for path in shards:
        save_file(arrays, tmp_path / path.name)
    with pytest.raises(JetloomError, match=rf"train_0\.safetensors: {words}; make it again"):
        Loader(tmp_path / "manifest.json", "train", batch_size=4, shuffle=False)
    with pytest.raises(JetloomError, match="safetensors, but no shard"):
        write_manifest("test", settings, [tmp_path / path.name for path in shards], tmp_path / "again.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", "no", '{"schema_version": 1}', '{"schema_version": 99}'])
def test_a_file_that_is_no_manifest_is_one_line(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(JetloomError, match=r"manifest\.json: ") as caught:
        Manifest.read(tmp_path / "manifest.json")
    assert "\n" not in str(caught.value)


def test_a_rank_may_have_an_empty_batch_when_nothing_is_left_out(made):
    """Scoring on many processes: the last batch of a bucket may have fewer jets than there are processes."""
    parts = [
        list(Loader(made[0] / "manifest.json", "test", batch_size=2, shuffle=False, rank=rank, world_size=16))
        for rank in range(16)
    ]
    sizes = np.array([[len(batch.label) for batch in part] for part in parts])
    assert sizes.sum() == 50
    assert (sizes == 0).any(), "else this is no test"
    for part in parts:
        for batch in part:
            jets, width = len(batch.label), batch.features.shape[1]
            assert batch.features.shape == (jets, width, 17) and batch.vectors.shape == (jets, width, 4)
            assert batch.mask.shape == (jets, width) and batch.coordinates.shape == (jets, width, 2)
