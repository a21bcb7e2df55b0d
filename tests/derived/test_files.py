"""Codes from jets to files and back: what is stored is what the tokenizer said, shifted by nothing."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from jetloom.config import DerivedDataset
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.prepare.skim import read_facts
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.read.loader import Loader
from jetloom.derived.closeness import closeness
from jetloom.derived.generate import Drawn, _tables
from jetloom.derived.mix import halve, mix
from jetloom.derived.skims import table_of, write_skim
from jetloom.derived.tokenise import tokenise, tokenizer
from jetloom.errors import JetloomError
from jetloom.identity.digests import checksum
from jetloom.models import build
from jetloom.models.kmeans import KMeans
from jetloom.models.omnijet import OmniJet
from jetloom.models.tokenizer import axis, particles_of, vectors_from
from jetloom.substructure import observables
from tests.models.jets import random_jets
from tests.support.evaluated import CLASSES, write_tensors

CODES = 24


@pytest.fixture
def network() -> KMeans:
    torch.manual_seed(4)
    network = build("kmeans", n_features=7, n_classes=2, codes=CODES)
    network.start(torch.randn(2000, 3))
    return network.eval()


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    path = write_tensors(tmp_path / "source")
    described = Manifest.read(path)
    splits = {
        name: split.model_copy(update={"shards": [
            shard.model_copy(update={"sha256": checksum(path.parent / shard.file)}) for shard in split.shards
        ]})
        for name, split in described.splits.items()
    }  # fmt: skip
    path.write_text(described.model_copy(update={"splits": splits}).signed().model_dump_json())
    return path


@pytest.fixture
def checkpoint(tmp_path):
    file = tmp_path / "best.ckpt"
    file.write_bytes(b"stands for the tokenizer")
    return file


def settings(kind: str, splits: dict, **changes) -> DerivedDataset:
    known = {
        "title": "made", "kind": kind, "source": "jetclass", "licence": "", "citation": "", "classes": CLASSES,
        "feature_set": "codes" if kind == "tokens" else "kin", "max_particles": 32, "buckets": [16, 32],
        "derived": "tokenised" if kind == "tokens" else "decoded", "codes": CODES, "splits": splits,
    }  # fmt: skip
    return DerivedDataset.model_validate(known | changes)


def tokenised(network, source, checkpoint, directory, split="test", classes=CLASSES):
    output = directory / f"{split}_000.parquet"
    tokenise(network, checkpoint, source, split, 0, classes, CODES, output)
    return output


def test_codes_are_those_of_the_tokenizer(network, source, checkpoint, tmp_path):
    table = pq.read_table(tokenised(network, source, checkpoint, tmp_path))
    batches = list(Loader(source, "test", batch_size=100, shuffle=False))
    expected, momenta = [], []
    for batch in batches:
        found = network.reconstruct(batch)
        eta, phi = _axis(batch)
        decoded = vectors_from(found.values, eta, phi)
        for code, kept, vectors in zip(found.code, found.given.kept, decoded, strict=True):
            expected.append(code[kept].tolist())
            momenta.append(vectors[kept])
    known = [row for row in expected if row]
    assert table["part_code"].to_pylist() == known
    np.testing.assert_allclose(
        np.concatenate(table["part_energy"].to_numpy()), torch.cat(momenta)[:, 3].detach().numpy(), rtol=1e-5
    )
    facts = read_facts(tmp_path / "test_000.parquet")
    assert facts["particles_kept"] == sum(map(len, expected)) <= facts["particles_read"]
    assert facts["codes"] == CODES


def _axis(batch):
    return axis(batch.vectors, batch.mask)


def test_round_trip_through_shards_and_the_network(network, source, checkpoint, tmp_path):
    skim = tokenised(network, source, checkpoint, tmp_path)
    made = settings("tokens", {"test": ["test_000"]})
    write_shard("tokens", made, "test", 0, [skim], tmp_path / "test_000.safetensors")
    write_manifest("tokens", made, [tmp_path / "test_000.safetensors"], tmp_path / "manifest.json")
    described = Manifest.read(tmp_path / "manifest.json")
    assert (described.kind, described.codes, described.width, described.derived) == (
        "tokens",
        CODES,
        CODES,
        "tokenised",
    )
    codes = sorted(map(tuple, pq.read_table(skim)["part_code"].to_pylist()))
    reader: OmniJet = build("omnijet", n_features=described.width, n_classes=2, width=8, blocks=1, heads=2)
    read, inputs = [], []
    for batch in Loader(tmp_path / "manifest.json", "test", batch_size=7, shuffle=True):
        assert batch.features.dtype == torch.int16 and batch.vectors is None
        assert batch.features.shape[2] == 1 and batch.coordinates.shape[2] == 0
        tokens, there = reader.tokens(batch)
        for code, real, token, asked in zip(batch.features[..., 0], batch.mask, tokens, there, strict=True):
            read.append(tuple(code[real].tolist()))
            inputs.append(token[asked].tolist())
    assert sorted(read) == codes
    # Start, codes + 1, stop; a shift by one would give other codes.
    assert sorted(tuple(row) for row in inputs) == sorted((0, *(c + 1 for c in row), CODES + 1) for row in codes)
    # Two bytes for a particle.
    size = (tmp_path / "test_000.safetensors").stat().st_size
    slots = sum(described.splits["test"].per_bucket[str(width)] * width for width in (16, 32))
    assert size < 2 * slots + 60 * described.splits["test"].jets + 4000


def test_what_codes_stand_for_is_what_a_tagger_reads(network, source, checkpoint, tmp_path):
    skim = tokenised(network, source, checkpoint, tmp_path)
    made = settings("jets", {"test": ["test_000"]})
    write_shard("decoded", made, "test", 0, [skim], tmp_path / "test_000.safetensors")
    write_manifest("decoded", made, [tmp_path / "test_000.safetensors"], tmp_path / "manifest.json")
    for batch in Loader(tmp_path / "manifest.json", "test", batch_size=100, shuffle=False):
        pt = batch.vectors[..., :2].norm(dim=-1)
        # Inputs follow from the decoded momenta: ln pT in the first column, as ParT standardises it.
        expected = ((pt.log() - 1.7) * 0.7).clamp(-5, 5)
        torch.testing.assert_close(batch.features[..., 0][batch.mask], expected[batch.mask], rtol=1e-4, atol=1e-4)
        total = (batch.vectors * batch.mask[..., None]).sum(1)
        observed = dict(zip(Manifest.read(tmp_path / "manifest.json").observers, batch.observers.T, strict=True))
        torch.testing.assert_close(observed["jet_pt"], total[:, :2].norm(dim=1), rtol=1e-4, atol=1e-3)
        own = observables(batch.vectors.numpy(), batch.mask.numpy())
        np.testing.assert_allclose(observed["jet_mass"], own["mass"], rtol=2e-2, atol=0.5)
        assert np.array_equal(observed["jet_nparticles"], own["multiplicity"])


def test_some_classes_are_kept_and_counted_anew(network, source, checkpoint, tmp_path):
    skim = tokenised(network, source, checkpoint, tmp_path, classes=["Tbl", "QCD"])
    labels = np.bincount(pq.read_table(skim)["label"].to_numpy())
    truth = np.bincount(np.concatenate([b.label for b in Loader(source, "test", batch_size=50, shuffle=False)]))
    assert labels.tolist() == [truth[CLASSES.index("Tbl")], truth[CLASSES.index("QCD")]]


def test_another_tokenizer_and_other_jets_are_refused(network, source, checkpoint, tmp_path):
    with pytest.raises(JetloomError, match="a tokenizer of 24 codes; expected 512"):
        tokenise(network, checkpoint, source, "test", 0, CLASSES, 512, tmp_path / "out.parquet")
    with pytest.raises(JetloomError, match="no class Wqq"):
        tokenise(network, checkpoint, source, "test", 0, ["Wqq"], CODES, tmp_path / "out.parquet")
    shard = source.parent / "test_000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(JetloomError, match=r"other jets than .* describes"):
        tokenise(network, checkpoint, source, "test", 0, CLASSES, CODES, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_tagger_is_no_tokenizer(tmp_path):
    from jetloom.training.checkpoint import save_model

    torch.manual_seed(1)
    tagger = build("pfn", preset="tiny", n_features=7, n_classes=3, max_particles=32)
    content = {"model": "pfn", "options": _options("pfn"), "n_features": 7, "n_classes": 3, "max_particles": 32}
    save_model(tmp_path / "best.ckpt", tagger, content | {"manifest": {"classes": CLASSES}})
    with pytest.raises(JetloomError, match="no tokenizer, but PFN"):
        tokenizer(tmp_path / "best.ckpt")


def _options(name):
    from jetloom.training.made_from import all_options, chosen_options

    return all_options(name, chosen_options(name, "tiny", {}))


def test_generated_jets_are_what_their_codes_stand_for(network):
    code = np.array([[3, 5, 7, 0], [1, 0, 0, 0], [2, 2, 0, 0]])
    drawn = Drawn(code, np.array([3, 0, 2]), np.array([True, True, True]))
    [table] = _tables(network, drawn)
    # The jet without particles is gone.
    assert table["part_code"].to_pylist() == [[3, 5, 7], [2, 2]]
    centres = network.centres.detach()
    pt = np.hypot(np.array(table["part_px"][0].as_py()), np.array(table["part_py"][0].as_py()))
    np.testing.assert_allclose(pt, (centres[[3, 5, 7], 0] + 1.8).exp(), rtol=1e-5)
    eta = np.arcsinh(np.array(table["part_pz"][0].as_py()) / pt)
    np.testing.assert_allclose(eta, centres[[3, 5, 7], 1] / 3, rtol=1e-4, atol=1e-6)


def skim_of(path, jets: int, seed: int, classes: list[str]):
    batch = random_jets(jets, 20, seed=seed)
    code = np.zeros(batch.mask.shape, int)
    write_skim(path, [table_of(batch.vectors.numpy(), batch.mask.numpy(), code, batch.label.numpy() % len(classes))],
               {"classes": classes})  # fmt: skip
    return path


def test_equally_many_of_each_are_mixed(tmp_path):
    small = [skim_of(tmp_path / "a_000.parquet", 30, 1, ["x", "y"])]
    large = [skim_of(tmp_path / f"b_{number}.parquet", 40, 2 + number, ["generated"]) for number in range(2)]
    tables = []
    for part in range(2):
        output = tmp_path / f"mixed_{part}.parquet"
        mix([small, large], ["a", "b"], part, [1, 2], output)
        tables.append(pq.read_table(output))
        assert read_facts(output)["classes"] == ["a", "b"] and set(tables[-1]["label"].to_pylist()) == {part}
    assert [table.num_rows for table in tables] == [30, 30]
    known = {row for path in large for row in pq.read_table(path)["jet_pt"].to_pylist()}
    chosen = tables[1]["jet_pt"].to_pylist()
    # From both files, each jet once.
    assert set(chosen) <= known and len(set(chosen)) == 30
    assert set(chosen) & set(pq.read_table(large[1])["jet_pt"].to_pylist())
    assert tables[0].schema.equals(tables[1].schema)


@pytest.mark.parametrize("last", [40, 39])
def test_halves_are_equal_and_share_no_jet(tmp_path, last):
    paths = [
        skim_of(tmp_path / f"a_{number}.parquet", jets, number, ["x", "y"]) for number, jets in enumerate((30, last))
    ]
    halves = []
    for half in range(2):
        output = tmp_path / f"half_{half}.parquet"
        halve(paths, ["a_1", "a_2"], half, [1, 2], output)
        halves.append(pq.read_table(output))
        assert set(halves[-1]["label"].to_pylist()) == {half}
    assert [table.num_rows for table in halves] == [(30 + last) // 2] * 2
    one, other = (set(table["jet_pt"].to_pylist()) for table in halves)
    assert not one & other
    assert one | other <= {row for path in paths for row in pq.read_table(path)["jet_pt"].to_pylist()}
    # Drawn, not cut in the middle.
    assert one & set(pq.read_table(paths[1])["jet_pt"].to_pylist())


def test_one_jet_has_no_halves(tmp_path):
    with pytest.raises(JetloomError, match="a_1: 1 jets in this split; expected at least two"):
        halve([skim_of(tmp_path / "a.parquet", 1, 1, ["x"])], ["a_1", "a_2"], 0, [1], tmp_path / "out.parquet")


def test_nothing_to_compare_with(tmp_path):
    some = [skim_of(tmp_path / "a.parquet", 5, 1, ["x"])]
    empty = tmp_path / "b.parquet"
    write_skim(empty, [pq.read_table(some[0]).slice(0, 0)], {"classes": ["x"]})
    with pytest.raises(JetloomError, match="b: no jets in this split"):
        mix([some, [empty]], ["a", "b"], 0, [1], tmp_path / "out.parquet")


def test_closeness_of_a_set_to_itself_is_nothing(source, tmp_path):
    told = {
        "set": "a",
        "title": "A",
        "reference": "b",
        "reference_title": "B",
        "run": {"dataset": "t", "model": "g", "seed": 1},
    }
    closeness(source, source, told, tmp_path / "closeness.json", tmp_path / "observables.parquet")
    content = json.loads((tmp_path / "closeness.json").read_text())
    assert content["jets"] == content["reference_jets"] == 60
    for name, figures in content["observables"].items():
        assert figures["w1"] == 0 and figures["kl"] == pytest.approx(0, abs=1e-12), name
        assert figures["floor"]["mean"] > 0
    table = pq.read_table(tmp_path / "observables.parquet")
    assert table["reference"].to_pylist() == [0] * 60 + [1] * 60
    own = [
        observables(b.vectors.numpy(), b.mask.numpy())["mass"]
        for b in Loader(source, "test", batch_size=9, shuffle=False)
    ]
    np.testing.assert_allclose(np.sort(table["mass"].to_numpy()[:60]), np.sort(np.concatenate(own)), rtol=1e-5)


def test_particles_of_and_back():
    batch = random_jets(30, 20, seed=3)
    given = particles_of(batch)
    massless = vectors_from(given.values, *_axis(batch))[given.kept]
    torch.testing.assert_close(massless[:, :3], batch.vectors[given.kept][:, :3], rtol=2e-4, atol=2e-3)
