"""`jetloom export`: one ONNX file that scores jets as PyTorch does and says what it wants."""

import json

import numpy as np
import pytest
import torch

from jetloom.cli import main
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from jetloom.evaluation import onnx as exporting
from jetloom.models import build
from jetloom.publish.export import export
from jetloom.training.checkpoint import SCHEMA_VERSION, save, save_model
from tests.support.evaluated import write_tensors

pytestmark = pytest.mark.seconds

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The small data set of the evaluation."""
    return write_tensors(tmp_path_factory.mktemp("tensors"))


@pytest.fixture(scope="module")
def checkpoint(manifest, tmp_path_factory):
    """A SAL-T as a training on the small data set would leave it."""
    data = Manifest.read(manifest)
    torch.manual_seed(3)
    options = {"p": 2}
    model = build("salt", n_features=len(data.features), n_classes=len(data.classes), max_particles=32, **options)
    path = tmp_path_factory.mktemp("export") / "best.ckpt"
    kept = ("dataset", "features", "standardisation", "classes", "feature_set", "max_particles", "kind", "digest")
    described = {
        "model": "salt",
        "options": options,
        "n_features": len(data.features),
        "n_classes": len(data.classes),
        "max_particles": 32,
        "manifest": {key: data.model_dump(mode="json")[key] for key in kept},
        "seed": 3,
        "epoch": 0,
        "run": {"experiment": "x", "dataset": "toy", "model": "salt", "seed": 3},
    }
    save_model(path, model, described)
    return path, model.eval()


@pytest.mark.parametrize("values", ["scores", "logits"])
def test_the_file_answers_as_the_model_does(checkpoint, manifest, tmp_path, values):
    path, model = checkpoint
    file = tmp_path / "deep/model.onnx"
    with pytest.raises(SystemExit) as ended:
        main(["export", "--checkpoint", str(path), "--output", str(file), "--values", values])
    assert not ended.value.code
    assert [item.name for item in file.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["features", "vectors", "coordinates", "mask"]
    assert [item.name for item in session.get_outputs()] == [values]
    widths = set()
    for batch in Loader(manifest, "test", batch_size=7, shuffle=False):
        widths.add(tuple(batch.mask.shape))
        feed = {
            name: value.numpy()
            for name, value in batch._asdict().items()
            if name not in ("label", "observers", "length", "room")
        }
        with torch.no_grad():
            expected = model(batch) if values == "logits" else model(batch).softmax(1)
        np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-4)
    assert len(widths) > 2

    data = Manifest.read(manifest)
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["features"]) == data.features
    assert json.loads(notes["classes"]) == data.classes
    assert [tuple(row) for row in json.loads(notes["standardisation"])] == data.standardisation
    assert (notes["architecture"], notes["output"], notes["kind"]) == ("salt", values, "jets")
    assert json.loads(notes["run"])["seed"] == 3


def test_what_is_no_checkpoint(checkpoint, tmp_path):
    output = tmp_path / "model.onnx"
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    save({"schema_version": SCHEMA_VERSION, "optimiser": {}}, tmp_path / "last.ckpt")
    content = torch.load(checkpoint[0], weights_only=True)
    save(content | {"options": {"p": 4}}, tmp_path / "other.ckpt")
    save({key: value for key, value in content.items() if key != "manifest"}, tmp_path / "bare.ckpt")
    for name, message in {
        "missing.ckpt": "no such checkpoint",
        "text.ckpt": "not a readable checkpoint",
        "last.ckpt": "not a trained model",
        "other.ckpt": "the weights do not fit salt",
        "bare.ckpt": "says no 'manifest'",
    }.items():
        with pytest.raises(JetloomError, match=message) as caught:
            export(tmp_path / name, output)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    assert not output.exists()


def test_another_answer_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(JetloomError, match=r"model.onnx: not written, as onnxruntime and PyTorch differ by"):
        export(checkpoint[0], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
