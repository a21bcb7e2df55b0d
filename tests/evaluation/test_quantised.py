"""Networks in fewer bits: what onnxruntime says of the same jets, and what is said of those that cannot be had so."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from jetloom.config import Evaluation
from jetloom.data.prepare.manifest import Manifest
from jetloom.evaluation import quantised as module
from jetloom.evaluation.evaluate import evaluate, score
from jetloom.evaluation.quantised import CALIBRATION, Refused, calibration, quantised, round_parameters
from jetloom.identity.digests import Identity
from jetloom.models.registry import build
from jetloom.tasks.classification.measure import lost
from jetloom.training.checkpoint import load_model, save_model, task_of
from tests.support.evaluated import together, write_tensors

pytestmark = pytest.mark.seconds

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

JETS = 600
RUN = {"experiment": "e", "dataset": "toy", "model": "pfn", "seed": 3, "title": "PFN"}
ASKED = {"background": "QCD", "working_points": {"Hbb": 0.5, "Tbl": 0.9}, "threads": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set with more training jets than the calibration takes."""
    return write_tensors(tmp_path_factory.mktemp("tensors"), JETS)


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    """A PFN that has learnt the class from the first feature, saved as a training would."""
    described = Manifest.read(data)
    torch.manual_seed(1)
    model = build("pfn", n_features=7, n_classes=3, max_particles=32)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    batches = list(module.calibration(data))
    for step in range(60):
        batch = batches[step % len(batches)]
        loss = nn.functional.cross_entropy(model(batch), batch.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    path = tmp_path_factory.mktemp("training") / "best.ckpt"
    facts = {key: getattr(described, key) for key in ("classes", "features", "digest")}
    save_model(path, model.eval(), {
        "model": "pfn", "options": {}, "n_features": 7, "n_classes": 3, "max_particles": 32, "manifest": facts,
        "training": {}, "seed": 3, "epoch": 1, "run": RUN, "identity": Identity({"data": "toy"}).record(),
    })  # fmt: skip
    return path


@pytest.fixture(scope="module")
def trained(checkpoint, data):
    """The model, its task, what is saved of it, and its scores of the test jets."""
    model, saved = load_model(checkpoint)
    task = task_of(saved)
    return model, task, saved, together(score(model, task, data, "test", 100))


def test_int8_is_near_and_smaller(trained, data):
    model, task, saved, (scores, labels, _) = trained
    made = quantised("int8", model, task, saved, data, "test", batch_size=100)
    assert made.values.shape == scores.shape
    accuracy, fewer = ((values.argmax(axis=1) == labels).mean() for values in (scores, made.values))
    assert accuracy > 0.8, "the network has learnt something that can be lost"
    assert abs(accuracy - fewer) < 0.05
    difference = np.abs(made.values - scores)
    assert 1e-4 < difference.max() < 0.4 and difference.mean() < 0.02, "something was rounded, and not much"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert 1e-6 * parameters < made.megabytes < 2.5e-6 * parameters, "one byte for a weight, four for a bias"


def test_bf16_is_what_torch_says_with_rounded_weights(trained, data):
    model, task, saved, (scores, _, _) = trained
    before = [parameter.clone() for parameter in model.parameters()]
    made = quantised("bf16", model, task, saved, data, "test", batch_size=100)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    rounded, _ = load_model_again(model, saved)
    round_parameters(rounded)
    expected, _, _ = together(score(rounded, task, data, "test", 100))
    np.testing.assert_allclose(made.values, expected, atol=1e-5)
    assert 1e-5 < np.abs(made.values - scores).max() < 0.05
    assert made.facts("bf16")["how"].startswith("emulated")


def load_model_again(model, saved):
    other = build("pfn", n_features=7, n_classes=3, max_particles=32)
    other.load_state_dict(model.state_dict())
    return other.eval(), saved


def test_rounding_is_to_the_nearest_sixteen_bits():
    """Against the bits themselves: half a unit of the last kept bit is added, less one where that bit is even."""
    network = nn.Linear(50, 40)
    bits = network.weight.detach().numpy().copy().view(np.uint32)
    expected = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)
    round_parameters(network)
    np.testing.assert_array_equal(network.weight.detach().numpy(), expected)


def test_onnxruntime_has_no_bfloat16_products_on_a_cpu():
    """Which is why bf16 is emulated; when this fails, it need not be any more."""
    import onnx
    import onnxruntime

    sides = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BFLOAT16, [2, 2]) for name in "abc"]
    product = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["a", "b"], ["c"])], "g", sides[:2], sides[2:])
    model = onnx.helper.make_model(product, opset_imports=[onnx.helper.make_opsetid("", 20)])
    with pytest.raises(Exception, match="MatMul"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_calibration_sees_jets_of_all_lengths_and_the_same_ones(data):
    first, second = list(calibration(data)), list(calibration(data))
    assert sum(len(batch.mask) for batch in first) == CALIBRATION < JETS
    assert {batch.mask.shape[1] for batch in first} == {16, 32}
    assert all(torch.equal(one.features, other.features) for one, other in zip(first, second, strict=True))


class Stubborn(nn.Module):
    """Branches on a number that no tracer knows."""

    def forward(self, batch):
        total = batch.features.sum()
        return batch.features[:, 0, :3] * (1.0 if total.item() > 0 else 2.0)


def test_what_does_not_export_is_refused_in_one_line(trained, data):
    _, task, saved, _ = trained
    with pytest.raises(Refused) as caught:
        quantised("int8", Stubborn(), task, saved | {"model": "stubborn"}, data, "test", batch_size=100)
    assert str(caught.value).startswith("stubborn cannot be had in int8 (")
    assert "\n" not in str(caught.value)
    pre = saved | {"tasks": [{"name": "contrastive", "settings": {}, "weight": 1.0}]}
    with pytest.raises(Refused, match=r"a pre-training \(contrastive\) says nothing of a jet"):
        quantised("bf16", Stubborn(), task, pre, data, "test", batch_size=100)


def test_an_evaluation_says_what_is_lost(checkpoint, data, tmp_path, monkeypatch, capsys):
    few = Evaluation(batch_size=100, bootstrap=10, quantised=["int8"])
    evaluate(checkpoint, data, tmp_path / "few", settings=few, **ASKED)
    content = json.loads((tmp_path / "few/metrics.json").read_text())
    made = content["quantised"]["int8"]
    assert made["values"].keys() == content["values"].keys()
    loss = content["values"]["accuracy"]["value"] - made["values"]["accuracy"]["value"]
    assert made["lost"]["accuracy"]["value"] == pytest.approx(loss, abs=1e-12)
    assert made["onnxruntime"].count(".") == 2 and "calibrated on 512 training jets" in made["how"]
    evaluate(checkpoint, data, tmp_path / "all", settings=few.model_copy(update={"quantised": []}), **ASKED)
    plain = json.loads((tmp_path / "all/metrics.json").read_text())
    assert "quantised" not in plain and plain["values"] == content["values"]
    one, other = (found["identity"]["made_from"] for found in (plain, content))
    assert [key for key in one if one[key] != other[key]] == ["settings"]

    def fails(*_, **__):
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setattr(module, "export_onnx", fails)
    capsys.readouterr()
    evaluate(checkpoint, data, tmp_path / "none", settings=few, **ASKED)
    refused = json.loads((tmp_path / "none/metrics.json").read_text())
    line = "pfn cannot be had in int8 (RuntimeError: no such operation)"
    assert refused["quantised"] == {"int8": {"refused": line}}
    assert refused["values"] == content["values"]
    assert f"evaluation.quantised: {line}\n" in capsys.readouterr().out


def test_loss_is_paired():
    """Of five jets one is lost and one won: no loss, and the error of two disagreements."""
    scores = np.eye(2)[[0, 0, 0, 1, 1]]
    other = np.eye(2)[[0, 0, 1, 0, 1]]
    found = lost(scores, other, np.array([0, 0, 0, 0, 1]), 0.6826894921370859)["accuracy"]
    assert found["value"] == 0
    assert found["high"] == pytest.approx(np.sqrt(2 / 5) / np.sqrt(5)) and found["low"] == -found["high"]
