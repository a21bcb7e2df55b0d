"""Batches from raw files, against weaver-core reading the same file and against the tensors."""

import numpy as np
import pytest
import torch

from jetloom.config import resolve_dataset
from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.read.loader import Loader
from jetloom.data.read.stream import batches
from jetloom.errors import JetloomError
from tests.support.data import make_jetclass as build
from tests.support.weaver_inputs import ORDER, weaver_inputs

DATASET = resolve_dataset("jetclass-sim", {"max_particles": 128, "selection": {}}, "test")
LABELS = DATASET.classes


def falling(values, vectors, mask):
    pt = np.where(mask, np.hypot(vectors[..., 0], vectors[..., 1]), -1)
    order = np.argsort(-pt, axis=1, kind="stable")
    return np.take_along_axis(values, order[..., None], axis=1)


@pytest.mark.parametrize("feature_set", ["full", "kinpid", "kin"])
def test_features_are_those_of_weaver_core(tmp_path, feature_set):
    path = build.make(tmp_path / "TTBar_000.root", jets=80, label="Tbqq", largest=100)
    features, vectors, mask, label = weaver_inputs(path, feature_set, tmp_path)
    ours = [batch for batch, _ in batches(DATASET.model_copy(update={"feature_set": feature_set}), path, batch_size=30)]
    begin = 0
    for batch in ours:
        rows, width = slice(begin, begin + len(batch.label)), batch.mask.shape[1]
        begin = rows.stop
        expected = falling(features[rows], vectors[rows], mask[rows])[:, :width]
        assert np.array_equal(batch.mask.numpy(), np.sort(mask[rows], axis=1)[:, ::-1][:, :width])
        np.testing.assert_allclose(batch.features, expected * batch.mask[..., None].numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            batch.vectors, falling(vectors[rows], vectors[rows], mask[rows])[:, :width], rtol=1e-6
        )
        assert np.array_equal(batch.label, label[rows])
    assert begin == 80
    assert abs(np.concatenate([batch.features.numpy().ravel() for batch in ours])).max() <= 5.001
    assert [item.name for item in FEATURE_SETS[feature_set]] == ORDER[feature_set].split()


def test_a_stream_gives_the_jets_of_the_tensors_in_the_order_of_the_file(tmp_path):
    settings = DATASET.model_copy(
        update={"classes": ["QCD", "Hbb"], "max_particles": 40, "buckets": [10, 40], "splits": {"test": ["a", "b"]}}
    )
    paths = [build.make(tmp_path / "a.root", jets=50), build.make(tmp_path / "b.root", jets=50, label="Hbb", seed=2)]
    for path in paths:
        skim("test", settings, path, path.with_suffix(".parquet"))
    shard = tmp_path / "test.safetensors"
    write_shard("test", settings, "test", 0, [path.with_suffix(".parquet") for path in paths], shard)
    write_manifest("test", settings, [shard], tmp_path / "manifest.json")
    loader = Loader(tmp_path / "manifest.json", "test", batch_size=16, shuffle=False)
    stored = {}
    for batch in loader:
        for row in range(len(batch.label)):
            real = batch.mask[row]
            key = tuple(batch.vectors[row, 0].tolist())
            stored[key] = (
                batch.features[row][real],
                batch.coordinates[row][real],
                batch.label[row],
                batch.observers[row],
            )
    count = 0
    for path in paths:
        branches = build.columns(np.random.default_rng(1001 if path == paths[0] else 1002).integers(1, 61, 50),
                                 "QCD" if path == paths[0] else "Hbb", 1 if path == paths[0] else 2)  # fmt: skip
        seen = []
        for batch, observers in batches(settings, path, batch_size=16, chunk=20):
            assert batch.mask.shape[1] in (10, 40)
            seen += observers["jet_pt"].tolist()
            for row in range(len(batch.label)):
                features, coordinates, label, observed = stored[tuple(batch.vectors[row, 0].tolist())]
                assert torch.equal(batch.features[row][batch.mask[row]], features)
                assert torch.equal(batch.coordinates[row][batch.mask[row]], coordinates)
                assert batch.label[row] == label
                mine = [observers[name][row] for name in loader.manifest.observers]
                np.testing.assert_array_equal(observed, mine)
                count += 1
        assert seen == branches["jet_pt"].tolist()
    assert count == 100


def test_classes_that_the_model_does_not_know_have_no_label(tmp_path):
    path = build.make(tmp_path / "a.root", jets=4, label="Zqq")
    settings = resolve_dataset("jetclass-sim", {"classes": ["QCD", "Hbb"]}, "few")
    ((batch, _),) = batches(settings, path)
    assert batch.label.tolist() == [-1] * 4


def test_observers_have_their_units(tmp_path):
    path = build.make(tmp_path / "a.root", jets=6)
    ((_, observers),) = batches(DATASET, path)
    rest = ["jet_phi", "jet_energy", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4", "aux_genpart_pt"]
    assert list(observers) == ["jet_pt", "jet_eta", "jet_mass", "jet_sdmass", "jet_nparticles", *rest]
    np.testing.assert_allclose(observers["jet_mass"], 100.0, rtol=1e-3)


def test_a_feature_set_that_the_file_cannot_feed_is_one_line(tmp_path):
    (tmp_path / "chair" / "test").mkdir(parents=True)
    (tmp_path / "chair" / "test" / "chair_0001.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    shapes = resolve_dataset("shapes-sim", {}, "shapes")
    ((batch, observers),) = batches(shapes, tmp_path / "chair" / "test")
    assert batch.vectors is None and batch.coordinates.shape == (1, 1024, 3) and observers == {}
    with pytest.raises(JetloomError, match=r"no column part_px.*which feature set kin needs"):
        list(batches(shapes.model_copy(update={"feature_set": "kin"}), tmp_path / "chair" / "test"))
