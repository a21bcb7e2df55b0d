"""A whole training: what it writes, that it learns, that it is reproducible."""

import json

import pytest
import torch

from jetloom.config import Monitor, Training
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.tasks.classification.learn import Classification
from jetloom.tasks.task import Data
from jetloom.training.checkpoint import load_model
from jetloom.training.module import Tagger
from jetloom.training.progress import Progress
from tests.support.outcome import assert_same, history
from tests.support.tensors import write_tensors
from tests.support.trainings import OPTIONS


def test_outputs(run_training, manifest, tmp_path) -> None:
    output = run_training(epochs=4)
    assert sorted(path.name for path in output.iterdir()) == ["best.ckpt", "history.csv", "training.json"]
    assert not (tmp_path / "a-scratch").exists()
    rows, summary = history(output), json.loads((output / "training.json").read_text())
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40]
    accuracies = [float(row["val_accuracy"]) for row in rows]
    assert summary["best"] == pytest.approx(max(accuracies))
    assert summary["best_epoch"] == accuracies.index(max(accuracies))
    assert summary["epochs_done"] == 4
    assert summary["resumed"] == 0
    assert summary["mlflow"] is None
    assert {"cpu", "gpu", "threads", "memory_gb"} <= summary["hardware"].keys()
    assert {"python", "torch", "lightning", "jetloom"} <= summary["versions"].keys()

    model, described = load_model(output / "best.ckpt")
    assert not model.training
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert list(described["options"]["embedding"]) == [16]
    # Also what was not said, so that a later default cannot change an old model.
    assert "readout" in described["options"]
    assert described["epoch"] == summary["best_epoch"]
    with torch.inference_mode():
        right = total = 0
        for batch in Loader(manifest, "val", batch_size=50, shuffle=False):
            right += int((model(batch).argmax(1) == batch.label).sum())
            total += len(batch.label)
    assert right / total == pytest.approx(summary["best"])


@pytest.mark.seconds
def test_a_compiled_step_learns_the_same(run_training, monkeypatch) -> None:
    """Traced as for inductor, which tests/models/test_compile.py runs to the end."""
    compile_ = torch.compile
    asked = []

    def traced(*args, **kwargs):
        asked.append(kwargs)
        return compile_(*args, backend="eager", **kwargs)

    monkeypatch.setattr(torch, "compile", traced)
    recipe = {"options": OPTIONS | {"dropout": 0.0}, "epochs": 2, "batch_size": 300}
    curves = [history(run_training(way, compile=way, **recipe)) for way in ("off", "inductor")]
    for one, other in zip(*curves, strict=True):
        assert {name: float(x) for name, x in one.items()} == pytest.approx(
            {name: float(x) for name, x in other.items()}, rel=1e-5
        )
    # Sizes of batches on a CPU differ by one.
    assert asked == [{"dynamic": None}]


@pytest.mark.seconds
def test_same_seed_same_curve(run_training) -> None:
    a, b, c = run_training("a"), run_training("b"), run_training("c", seed=2)
    assert_same(a, b)
    assert history(a) != history(c)


def test_threads_that_gather_ahead_change_nothing(run_training) -> None:
    part = {"samples_per_epoch": 200, "validation_samples": 100}
    assert_same(run_training("a", **part), run_training("b", workers=2, **part))


def test_rank_without_jets_takes_part_with_zero_gradients(manifest, monkeypatch) -> None:
    # The rate of a step is asked of the trainer.
    monkeypatch.setattr(Tagger, "_begin", lambda self: None)
    model = build("transformer", n_features=7, n_classes=3, preset="tiny")
    task, progress = Classification(Data(["a", "b", "c"], [])), Progress(Training(), Monitor("loss", False))
    tagger = Tagger(model, task, progress, seed=1)
    batch = next(iter(Loader(manifest, "train", batch_size=8, shuffle=True)))
    loss = tagger.training_step([batch.map(lambda part: part[:0])], 0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


BIGGER = {"embedding": [64], "blocks": 2, "heads": 4, "dropout": 0.0}


@pytest.mark.seconds
def test_learns_a_small_set_by_heart(run_training, tmp_path) -> None:
    data = write_tensors(tmp_path / "small", train=30, val=30, separation=0.0)
    output = run_training(data=data, epochs=80, batch_size=30, optimizer="adamw", learning_rate=2e-3, options=BIGGER)
    rows = history(output)
    assert float(rows[0]["train_accuracy"]) < 0.7
    assert max(float(row["train_accuracy"]) for row in rows) > 0.95


def test_loss_that_is_no_number(run_training) -> None:
    with pytest.raises(JetloomError, match=r"epoch \d+: the loss is (nan|inf); lower learning_rate .*gradient_clip"):
        run_training(learning_rate=1e30, epochs=5, optimizer="adam", schedule="constant")


@pytest.fixture
def scripted(monkeypatch):
    """Give the epochs these validation accuracies; returns the weights at the beginning of each."""
    weights = []

    def script(*accuracies: float):
        values = iter(accuracies)
        finish, start = Tagger.finish_epoch, Tagger.on_train_epoch_start

        def on_train_epoch_start(self):
            weights.append(torch.cat([p.detach().flatten() for p in self.model.parameters()]))
            start(self)

        monkeypatch.setattr(Tagger, "finish_epoch", lambda self: finish(self) | {"val_accuracy": next(values)})
        monkeypatch.setattr(Tagger, "on_train_epoch_start", on_train_epoch_start)
        return weights

    return script


def test_stops_when_nothing_improves(run_training, scripted) -> None:
    scripted(0.5, 0.6, 0.6, 0.55, 0.9)
    output = run_training(epochs=50, patience=2)
    assert len(history(output)) == 4
    assert json.loads((output / "training.json").read_text())["best_epoch"] == 1


@pytest.mark.seconds
def test_phases_of_batch_sizes(run_training) -> None:
    output = run_training(batch_phases=[(32, 2), (64, 1), (128, 1)], monitor="loss")
    rows = history(output)
    assert [row["batch_size"] for row in rows] == ["32", "32", "64", "128"]
    assert [int(row["step"]) for row in rows] == [20, 40, 50, 56]


@pytest.mark.seconds
def test_patience_begins_anew_in_each_phase(run_training, scripted) -> None:
    # The second phase never reaches the first one's best, and must not end for that.
    weights = scripted(0.5, 0.6, 0.1, 0.1, 0.2, 0.3, 0.4, 0.35, 0.35)
    output = run_training(batch_phases=[(32, 10), (64, 10)], patience=2)
    rows = history(output)
    assert [row["batch_size"] for row in rows] == ["32"] * 4 + ["64"] * 5
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 10, 11, 12, 13, 14]
    assert json.loads((output / "training.json").read_text())["best_epoch"] == 1
    # It starts from the first one's best weights, those after epoch 1.
    assert torch.equal(weights[4], weights[2])
    assert not torch.equal(weights[4], weights[3])


def test_part_of_the_set_in_each_epoch(run_training) -> None:
    rows = history(run_training(samples_per_epoch=128, validation_samples=64, epochs=3))
    assert [int(row["step"]) for row in rows] == [2, 4, 6]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "ranger"])
def test_clipped_gradients(run_training, optimizer: str) -> None:
    free = history(run_training("free", optimizer=optimizer, epochs=1))
    clipped = history(run_training("clipped", optimizer=optimizer, epochs=1, gradient_clip=1e-12))
    if optimizer == "ranger":
        # The first steps of RAdam follow the gradient itself.
        assert clipped[0]["train_loss"] > free[0]["train_loss"]
    assert clipped != free


@pytest.mark.seconds
def test_fine_tuning_starts_from_a_checkpoint(run_training) -> None:
    # Without the batch norm of the inputs, whose running statistics change at any learning rate.
    options = OPTIONS | {"first_norm": False}
    # Long enough that no jet is left on the border between two classes, where the last bit decides.
    first = run_training("first", epochs=8, options=options, precision="32")
    still = {"learning_rate": 1e-12, "schedule": "constant", "epochs": 1, "precision": "32"}
    rows = history(run_training("second", initial_weights=str(first / "best.ckpt"), options=options, **still))
    best = max(history(first), key=lambda row: float(row["val_accuracy"]))
    for name in ("val_accuracy", "val_loss"):
        assert float(rows[0][name]) == pytest.approx(float(best[name]), rel=1e-4)


def test_initial_weights_of_another_model(run_training, tmp_path) -> None:
    with pytest.raises(JetloomError, match="no such checkpoint"):
        run_training(initial_weights=str(tmp_path / "nothing.ckpt"))
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(JetloomError, match="not a readable checkpoint"):
        run_training(initial_weights=str(tmp_path / "bad.ckpt"))
