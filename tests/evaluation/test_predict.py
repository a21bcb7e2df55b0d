"""`jetloom predict` gives a raw file's jets the scores that evaluation gives the same jets."""

import numpy as np
import pyarrow.parquet
import pytest
import torch

from jetloom.config import resolve_dataset, resolve_training
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.errors import JetloomError
from jetloom.evaluation.evaluate import score
from jetloom.evaluation.predict import predict
from jetloom.models import build
from jetloom.training.checkpoint import load_model, task_of
from jetloom.training.train import train
from tests.support.data.mirrors import root_file
from tests.support.evaluated import together

CHANGES = {
    "classes": ["QCD", "Hbb"],
    "splits": {split: [f"{{ZJetsToNuNu,HToBB}}_{n:03d}.root"] for n, split in enumerate(("train", "val", "test"))},
    "max_particles": 32,
    "buckets": [8, 16, 32],
    "selection": {},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Raw files, tensors and a model that has seen them for one epoch."""
    directory = tmp_path_factory.mktemp("predict")
    settings = resolve_dataset("jetclass-sim", CHANGES, "test")
    shards = []
    for number, split in enumerate(("train", "val", "test")):
        skims = []
        for process in ("ZJetsToNuNu", "HToBB"):
            raw = directory / f"{process}_{number:03d}.root"
            root_file(raw, process, 40, seed=10 * number + len(process))
            skims.append(raw.with_suffix(".parquet"))
            skim("jetclass-sim", settings, raw, skims[-1])
        shards.append(directory / f"{split}.safetensors")
        write_shard("jetclass-sim", settings, split, 0, skims, shards[-1])
    write_manifest("jetclass-sim", settings, shards, directory / "manifest.json")
    run = {"experiment": "x", "dataset": "jetclass-sim", "model": "salt", "seed": 1, "title": "SAL-T"}
    train(
        directory / "manifest.json",
        directory / "out",
        model="salt",
        preset="tiny",
        options={},
        training=resolve_training({"epochs": 1, "batch_size": 16}),
        seed=1,
        run=run,
        scratch=directory / "scratch",
        threads=1,
    )
    return directory


@pytest.mark.seconds
def test_a_raw_file_gets_the_scores_of_the_evaluation(trained):
    predict(trained / "out/best.ckpt", trained / "HToBB_002.root", trained / "scores.parquet", batch_size=7, threads=1)
    table = pyarrow.parquet.read_table(trained / "scores.parquet")
    assert table.num_rows == 40
    assert table["label"].to_pylist() == [1] * 40
    skimmed = pyarrow.parquet.read_table(trained / "HToBB_002.parquet")
    np.testing.assert_allclose(table["jet_pt"], skimmed["jet_pt"], rtol=1e-6, err_msg="in the order of the file")

    model, saved = load_model(trained / "out/best.ckpt")
    scores, label, observers = together(score(model, task_of(saved), trained / "manifest.json", "test", 16))
    expected = dict(zip(observers[label == 1][:, 0].tolist(), scores[label == 1][:, 1].tolist(), strict=True))
    got = dict(zip(table["jet_pt"].to_pylist(), table["score_Hbb"].to_pylist(), strict=True))
    assert expected.keys() == got.keys()
    np.testing.assert_allclose([got[key] for key in expected], list(expected.values()), atol=1e-5)


def test_a_published_file_is_applied_to_a_known_format(trained, tmp_path):
    torch.manual_seed(3)
    model = build("pfn", n_features=7, n_classes=10)
    weights = {f"mod.{name}": value for name, value in model.state_dict().items()}
    torch.save(weights, tmp_path / "PFN_kin.pt")
    predict(
        tmp_path / "PFN_kin.pt",
        trained / "HToBB_002.root",
        tmp_path / "scores.parquet",
        dataset="jetclass-sim",
        model="pfn",
        feature_set="kin",
    )
    table = pyarrow.parquet.read_table(tmp_path / "scores.parquet")
    total = sum(table[name].to_numpy() for name in table.column_names if name.startswith("score_"))
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "shapes-sim"}, "jets"),
        ({"dataset": "jetclas"}, "jetclass"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(trained, tmp_path, changes, words):
    with pytest.raises(JetloomError, match=words) as caught:
        predict(trained / "out/best.ckpt", trained / "HToBB_002.root", tmp_path / "scores.parquet", **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_features_of_another_set_are_refused(trained, tmp_path):
    weights = {f"mod.{k}": v for k, v in build("pfn", n_features=13, n_classes=10).state_dict().items()}
    torch.save(weights, tmp_path / "PFN.pt")
    with pytest.raises(JetloomError) as caught:
        predict(
            tmp_path / "PFN.pt",
            trained / "HToBB_002.root",
            tmp_path / "scores.parquet",
            dataset="jetclass-sim",
            model="pfn",
            feature_set="kin",
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "scores.parquet").exists()
