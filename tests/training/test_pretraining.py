"""Self-supervised trainings: killed ones go on exactly, and classifiers start from their encoder."""

import json

import pytest
import torch

from jetloom.config import Evaluation, resolve_tasks
from jetloom.errors import JetloomError
from jetloom.evaluation.encoded import untrained
from jetloom.evaluation.evaluate import evaluate
from jetloom.publish.export import export
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data
from jetloom.training.checkpoint import load_model
from tests.support.kills import OFTEN, Killed, die_after
from tests.support.outcome import assert_same, history

pytestmark = pytest.mark.seconds

TASKS = {
    "contrastive": {"contrastive": {"projection": [8, 8]}},
    "masked_token": {"masked_token": {"codes": 16, "head_width": 8, "head_blocks": 1}},
}
FIGURES = {
    "contrastive": {"loss", "accuracy", "alignment", "uniformity"},
    "masked_token": {"loss", "accuracy", "masked", "unigram"},
}

task = pytest.mark.parametrize("name", TASKS)


@task
def test_a_killed_one_goes_on_exactly(run_training, monkeypatch, name) -> None:
    recipe = {"task": TASKS[name], "epochs": 2}
    whole = run_training("whole", **recipe)
    for saves in (3, 14):
        with monkeypatch.context() as patch:
            die_after(patch, saves)
            with pytest.raises(Killed):
                run_training(f"killed{saves}", checkpoint_minutes=OFTEN, **recipe)
        # Whatever is drawn elsewhere meanwhile.
        torch.manual_seed(saves)
        assert_same(whole, run_training(f"killed{saves}", **recipe))
    rows = history(whole)
    columns = {column.removeprefix(split) for column in rows[0] for split in ("train_", "val_") if column[:6] in split}
    assert FIGURES[name] <= columns


@task
def test_what_draws_are_keyed_by(run_training, monkeypatch, name) -> None:
    """Training by seed and step, validation by seed and batch, the same in every epoch."""
    seeds = {"step": [], "validate": []}
    kind = type(make(resolve_tasks(TASKS[name], "task"), Data([], [])))
    for method, found in seeds.items():

        def spy(self, model, batch, sums, original=kind.__dict__[method], found=found):
            found.append(torch.default_generator.initial_seed())
            return original(self, model, batch, sums)

        monkeypatch.setattr(kind, method, spy)
    run_training("a", task=TASKS[name], epochs=2)
    first = {method: list(found) for method, found in seeds.items()}
    half = len(first["validate"]) // 2
    assert half == len(set(first["validate"])) > 1
    assert first["validate"][:half] == first["validate"][half:]
    assert len(set(first["step"])) == len(first["step"])
    run_training("b", task=TASKS[name], epochs=1, seed=2)
    assert not set(seeds["step"][len(first["step"]) :]) & set(first["step"]), "another seed"


@task
def test_a_classifier_starts_from_the_encoder(run_training, name, capsys) -> None:
    before = run_training("pre", task=TASKS[name], epochs=1)
    capsys.readouterr()
    after = run_training(
        "tuned", epochs=1, learning_rate=1e-30, optimizer="adamw", initial_weights=str(before / "best.ckpt")
    )
    said = capsys.readouterr().out
    assert "Started from" in said and "new: head.weight, head.bias" in said
    one, two = (load_model(path / "best.ckpt")[0].state_dict() for path in (before, after))
    encoder = [key for key in two if not key.startswith("head.") and "running" not in key and "tracked" not in key]
    assert encoder
    for key in encoder:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=0)


@task
def test_it_is_not_exported(run_training, tmp_path, name) -> None:
    made = run_training("pre", task=TASKS[name], epochs=1)
    with pytest.raises(JetloomError, match=rf"a pre-training \({name}\) says nothing of a jet") as error:
        export(made / "best.ckpt", tmp_path / "model.onnx")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.onnx").exists()


@task
def test_it_is_evaluated_beside_a_random_encoder(run_training, manifest, tmp_path, name) -> None:
    made = run_training("pre", task=TASKS[name], epochs=1)
    order = {"split": "val", "settings": Evaluation(bootstrap=10), "background": None, "working_points": {}}
    for place in ("one", "two"):
        evaluate(made / "best.ckpt", manifest, tmp_path / place, **order)
        # Whatever was drawn meanwhile.
        torch.rand(7)
    one, two = (json.loads((tmp_path / place / "metrics.json").read_text()) for place in ("one", "two"))
    assert one["values"] == two["values"]
    assert (one["jets"], one["probe"]["training_jets"], one["probe"]["test_jets"]) == (150, 600, 150)
    assert {"probe_accuracy", "knn_accuracy", "random_probe_accuracy", "random_knn_accuracy"} <= one["values"].keys()
    assert json.loads((tmp_path / "one/examples.json").read_text())["jets"]
    # The control has the weights that the training began with.
    still = run_training("still", task=TASKS[name], epochs=1, learning_rate=1e-30, optimizer="adamw")
    network, saved = load_model(still / "best.ckpt")
    weights = untrained(saved).state_dict()
    for key, value in network.state_dict().items():
        if not key.startswith("head.") and "running" not in key and "tracked" not in key:
            torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-20)
