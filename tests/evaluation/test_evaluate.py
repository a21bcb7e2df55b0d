"""From a checkpoint to metrics.json and predictions.parquet."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score

from jetloom.config import Evaluation
from jetloom.data.prepare.manifest import Manifest
from jetloom.errors import JetloomError
from jetloom.evaluation import evaluate as module
from jetloom.evaluation.evaluate import evaluate, score, write_predictions
from jetloom.identity.digests import Identity
from jetloom.models.registry import build
from jetloom.training.checkpoint import load_model, save_model, task_of
from tests.support.evaluated import CLASSES, OBSERVERS, together

RUN = {"experiment": "e", "dataset": "toy", "model": "transformer", "seed": 3, "title": "Transformer"}
IDENTITY = Identity({"data": "toy"})
SETTINGS = {
    "settings": Evaluation(batch_size=13, bootstrap=20),
    "background": "QCD",
    "working_points": {"Hbb": 0.5, "Tbl": 0.9},
}


@pytest.fixture
def checkpoint(manifest, tmp_path):
    """A model with fresh weights, saved as a training would."""
    torch.manual_seed(1)
    described = Manifest.read(manifest)
    model = build("transformer", n_features=7, n_classes=3, max_particles=32)
    path = tmp_path / "best.ckpt"
    facts = {key: getattr(described, key) for key in ("classes", "features", "digest")}
    save_model(path, model, {
        "model": "transformer", "options": {}, "n_features": 7, "n_classes": 3, "max_particles": 32,
        "manifest": facts, "training": {}, "seed": 3, "epoch": 1, "run": RUN, "identity": IDENTITY.record(),
    })  # fmt: skip
    return path


def test_the_files_say_what_the_model_does(checkpoint, manifest, tmp_path):
    evaluate(checkpoint, manifest, tmp_path / "out", **SETTINGS, threads=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "examples.json", "metrics.json", "predictions.parquet",
    ]  # fmt: skip
    content = json.loads((tmp_path / "out/metrics.json").read_text())
    table = pq.read_table(tmp_path / "out/predictions.parquet")
    assert table.column_names == [*(f"score_{name}" for name in CLASSES), "label", *OBSERVERS]
    facts = json.loads(table.schema.metadata[b"jetloom"])
    assert facts["run"] == content["run"] == RUN
    scores = np.stack([table.column(f"score_{name}").to_numpy() for name in CLASSES], axis=1)
    label = table.column("label").to_numpy()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert len(label) == content["jets"] == 60
    values = content["values"]
    assert values["accuracy"]["value"] == pytest.approx(accuracy_score(label, scores.argmax(axis=1)))
    doubles = scores.astype(float) / scores.astype(float).sum(axis=1, keepdims=True)
    assert values["auc"]["value"] == pytest.approx(roc_auc_score(label, doubles, multi_class="ovo"), abs=1e-6)
    assert set(values["rejection"]) == {"Hbb", "Tbl"}
    # Observers stay with their jets: the number of particles is that of the mask.
    assert table.column("jet_nparticles").to_numpy().min() >= 8
    assert content["data_digest"] == Manifest.read(manifest).digest
    assert len(content["checkpoint_sha256"]) == 64


def test_scores_do_not_depend_on_the_batch_size(checkpoint, manifest):
    model, saved = load_model(checkpoint)
    few, many = (together(score(model, task_of(saved), manifest, "test", size)) for size in (7, 60))
    np.testing.assert_allclose(few[0], many[0], atol=1e-5)
    np.testing.assert_array_equal(few[1], many[1])
    np.testing.assert_array_equal(few[2], many[2])


def test_other_classes_are_refused_before_anything_is_written(checkpoint, manifest, tmp_path):
    content = json.loads(manifest.read_text())
    content["classes"] = ["QCD", "Hcc", "Tbl"]
    other = tmp_path / "manifest.json"
    other.write_text(json.dumps(content))
    with pytest.raises(JetloomError, match=r"trained with classes QCD, Hbb, Tbl; .* has QCD, Hcc, Tbl"):
        evaluate(checkpoint, other, tmp_path / "out", **SETTINGS)
    with pytest.raises(JetloomError, match="no split 'tset'; allowed: train, test"):
        evaluate(checkpoint, manifest, tmp_path / "out", split="tset", **SETTINGS)
    assert not (tmp_path / "out").exists()


def test_a_diverged_model_is_one_line(checkpoint, manifest, tmp_path, monkeypatch):
    def broken(path):
        model, saved = load_model(path)
        for parameter in model.parameters():
            parameter.data.fill_(float("nan"))
        return model, saved

    monkeypatch.setattr(module, "load_model", broken)
    with pytest.raises(JetloomError, match="not finite"):
        evaluate(checkpoint, manifest, tmp_path / "out", **SETTINGS)
    assert list((tmp_path / "out").iterdir()) == []


def test_predictions_are_written_in_row_groups_as_they_come(checkpoint, manifest, tmp_path, monkeypatch):
    evaluate(checkpoint, manifest, tmp_path / "whole", **SETTINGS)
    monkeypatch.setattr(module, "ROW_GROUP", 25)
    model, saved = load_model(checkpoint)
    task = task_of(saved)
    written = []

    def batches():
        for batch in score(model, task, manifest, "test", 13):
            written.append((tmp_path / "parts.parquet").stat().st_size)
            yield batch

    described = Manifest.read(manifest)
    identity = Identity(json.loads((tmp_path / "whole/metrics.json").read_text())["identity"]["made_from"])
    seen = write_predictions(tmp_path / "parts.parquet", batches(), task, described, RUN, "test", identity)
    parts, whole = (pq.ParquetFile(tmp_path / name) for name in ("parts.parquet", "whole/predictions.parquet"))
    sizes = [parts.metadata.row_group(index).num_rows for index in range(parts.num_row_groups)]
    assert sum(sizes) == 60
    assert len(sizes) > 2
    assert max(sizes) <= 25
    assert whole.num_row_groups == 1
    assert parts.read().equals(whole.read(), check_metadata=True)
    assert written[-1] > written[0], "the first jets are in the file before the last ones are scored"
    np.testing.assert_array_equal(seen.values[:, 1], parts.read()["score_Hbb"])
    np.testing.assert_array_equal(seen.label, parts.read()["label"])


@pytest.mark.seconds
def test_evaluation_imports_neither_lightning_nor_mlflow_nor_pandas(checkpoint, manifest, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from jetloom.config import Evaluation; from jetloom.evaluation.evaluate import evaluate\n"
        "points = {'Hbb': 0.5, 'Tbl': 0.9}\n"
        "settings = {'settings': Evaluation(bootstrap=20), 'background': 'QCD', 'working_points': points}\n"
        "evaluate(*map(Path, sys.argv[1:]), **settings, threads=1)\n"
        "print({'mlflow', 'lightning', 'sklearn', 'scipy.stats', 'pandas'} & set(sys.modules))\n"
    )
    given = [str(path) for path in (checkpoint, manifest, tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
