"""Weights of one training as the start of another, with a last layer of its own."""

import json

import pytest
import torch

from jetloom.catalogue import cards
from jetloom.errors import JetloomError
from jetloom.identity.digests import checksum
from jetloom.models import build
from jetloom.training.checkpoint import load, save_model
from jetloom.training.train import start_from
from tests.support.trainings import OPTIONS

STILL = {"learning_rate": 1e-12, "schedule": "constant", "epochs": 1, "weight_decay": 0.0}


@pytest.fixture
def five_classes(tmp_path):
    """A model of the same size that tells five classes apart."""
    torch.manual_seed(3)
    model = build("transformer", n_features=7, n_classes=5, max_particles=16, **OPTIONS)
    save_model(tmp_path / "five.ckpt", model, {"model": "transformer"})
    return tmp_path / "five.ckpt"


def test_another_number_of_classes_makes_a_new_head(run_training, five_classes, capsys) -> None:
    output = run_training(initial_weights=str(five_classes), **STILL)
    before, after = load(five_classes)["state_dict"], load(output / "best.ckpt")["state_dict"]
    new = [name for name in after if after[name].shape != before[name].shape]
    assert sorted(after[name].size(0) for name in new) == [3, 3]
    assert f"new: {', '.join(new)}" in capsys.readouterr().out
    # Running means of a batch norm move whatever the rate is.
    kept = {name for name in after if "running" not in name and "num_batches" not in name} - set(new)
    assert kept
    for name in kept:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-9)
    assert json.loads((output / "training.json").read_text())["training"]["initial_weights"] == str(five_classes)


def test_the_head_learns_faster(run_training, five_classes) -> None:
    recipe = STILL | {"optimizer": "adamw", "learning_rate": 1e-6, "head_learning_rate_factor": 1000.0}
    output = run_training(initial_weights=str(five_classes), **recipe)
    same = run_training("still", initial_weights=str(five_classes), **STILL)
    before, after = (load(path / "best.ckpt")["state_dict"] for path in (same, output))
    learnt = {name for name in after if "running" not in name and "num_batches" not in name}
    moved = {name: (after[name] - before[name]).abs().max().item() for name in learnt}
    head = {name for name in learnt if after[name].shape[:1] == (3,)}
    # Ten steps of Adam: at most about the rate each.
    assert min(moved[name] for name in head) > 1e-3
    assert 0 < max(moved[name] for name in moved.keys() - head) < 2e-5


def test_what_does_not_fit_is_one_line(run_training, tmp_path) -> None:
    wide = build("transformer", n_features=7, n_classes=3, max_particles=16, **OPTIONS | {"embedding": [24]})
    save_model(tmp_path / "wide.ckpt", wide, {"model": "transformer"})
    with pytest.raises(JetloomError, match=r"initial_weights: .*wide\.ckpt does not fit this model: \S") as error:
        run_training(initial_weights=str(tmp_path / "wide.ckpt"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", cards.names("models"))
def test_every_encoder_goes_from_eight_classes_to_two(name: str, tmp_path, capsys) -> None:
    sizes = {"n_features": 7, "max_particles": 32, "preset": "tiny"}
    eight, two = (build(name, n_classes=number, **sizes) for number in (8, 2))
    save_model(tmp_path / "eight.ckpt", eight, {"model": name})
    start_from(two, tmp_path / "eight.ckpt")
    of = eight.state_dict()
    encoder = [key for key in two.state_dict() if not key.startswith("head.")]
    assert encoder
    assert all(torch.equal(two.state_dict()[key], of[key]) for key in encoder)
    new = capsys.readouterr().out.rpartition("; new: ")[2].strip().split(", ")
    assert new
    # PELICAN nano has one score for two classes.
    assert {two.state_dict()[key].shape[0] for key in new} == {1 if name == "pelican_nano" else 2}


def test_a_part_of_another_encoder_that_would_be_lost_is_one_line(run_training, tmp_path) -> None:
    deep = build("transformer", n_features=7, n_classes=3, max_particles=16, **OPTIONS | {"blocks": 2})
    save_model(tmp_path / "deep.ckpt", deep, {"model": "transformer"})
    with pytest.raises(JetloomError, match=r"initial_weights: .*deep\.ckpt does not fit this model: layers\.1\."):
        run_training(initial_weights=str(tmp_path / "deep.ckpt"))


def test_a_published_file_with_other_classes_gives_its_encoder(run_training, tmp_path, capsys) -> None:
    """As its authors write it: a plain state dict, with their prefix."""
    torch.manual_seed(3)
    theirs = build("transformer", n_features=7, n_classes=10, max_particles=16, **OPTIONS).state_dict()
    torch.save({f"mod.{name}": value for name, value in theirs.items()}, tmp_path / "ten.pt")
    output = run_training(initial_weights=str(tmp_path / "ten.pt"), freeze="encoder")
    assert "; new: head.weight, head.bias" in capsys.readouterr().out
    after = load(output / "best.ckpt")["state_dict"]
    assert after["head.weight"].shape[0] == 3
    assert all(torch.equal(after[name], theirs[name]) for name in theirs if not name.startswith("head."))
    made_from = json.loads((output / "training.json").read_text())["identity"]["made_from"]
    assert made_from["starting weights"] == checksum(tmp_path / "ten.pt")


def test_a_published_file_of_another_encoder_is_one_line(run_training, tmp_path) -> None:
    deep = build("transformer", n_features=7, n_classes=10, max_particles=16, **OPTIONS | {"blocks": 2})
    torch.save(deep.state_dict(), tmp_path / "deep.pt")
    with pytest.raises(JetloomError, match=r"deep\.pt does not fit Transformer: it has unknown layers\.1\."):
        run_training(initial_weights=str(tmp_path / "deep.pt"))
