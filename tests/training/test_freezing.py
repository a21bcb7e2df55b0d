"""Frozen encoders, and rates that fall from the head to the particles."""

import subprocess
from pathlib import Path

import pytest
import torch

from jetloom.catalogue import cards
from jetloom.config import Training
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.training.checkpoint import load
from jetloom.training.freezing import blocks, depths, let_learn
from jetloom.training.module import Tagger
from jetloom.training.optimisers import build_optimiser, parameter_groups
from tests.models.jets import random_jets
from tests.support.kills import OFTEN, Killed, die_after
from tests.support.outcome import assert_same, history
from tests.support.trainings import OPTIONS
from tests.training.test_resume import command


@pytest.fixture
def start(run_training) -> Path:
    """A finished training to start from."""
    return run_training("start", epochs=1) / "best.ckpt"


def state(output: Path) -> dict[str, torch.Tensor]:
    return load(output / "best.ckpt")["state_dict"]


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """First parts of the names of the tensors that differ."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.seconds
@pytest.mark.parametrize("optimizer", ["ranger", "adamw"])
def test_a_frozen_encoder_stays_bit_for_bit(run_training, start: Path, optimizer: str) -> None:
    """Buffers of batch normalisations included."""
    before = load(start)["state_dict"]
    assert any("running_mean" in name for name in before)
    after = state(
        run_training("frozen", initial_weights=str(start), freeze="encoder", optimizer=optimizer, gradient_clip=1.0)
    )
    assert changed(before, after) == {"head"}


def test_a_random_frozen_encoder_is_the_one_that_was_drawn(run_training) -> None:
    drawn: dict[str, torch.Tensor] = {}
    begin = Tagger.on_train_epoch_start

    def remember(self: Tagger) -> None:
        drawn.update({} if drawn else {name: value.clone() for name, value in self.model.state_dict().items()})
        begin(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tagger, "on_train_epoch_start", remember)
        output = run_training("control", freeze="encoder", freeze_random=True)
    assert changed(drawn, state(output)) == {"head"}
    rows = [float(row["val_loss"]) for row in history(output)]
    assert rows[-1] < rows[0]


@pytest.mark.seconds
@pytest.mark.parametrize("optimizer", ["ranger", "adamw", "adam"])
def test_the_encoder_learns_from_that_epoch_on(run_training, start: Path, monkeypatch, optimizer: str) -> None:
    states, learning = [], []
    finish, step = Tagger.finish_epoch, Tagger.training_step

    def finish_epoch(self: Tagger) -> dict[str, float]:
        states.append({name: value.clone() for name, value in self.model.state_dict().items()})
        with_state = self.optimizers().optimizer.state
        learning.append({name.split(".")[0] for name, p in self.model.named_parameters() if p in with_state})
        return finish(self)

    def training_step(self: Tagger, batch, index):
        assert self.model.head.training
        assert self.model.embed.training is self.model.layers.training is (self.progress.epoch >= 2)
        return step(self, batch, index)

    monkeypatch.setattr(Tagger, "finish_epoch", finish_epoch)
    monkeypatch.setattr(Tagger, "training_step", training_step)
    recipe = {"initial_weights": str(start), "freeze": "encoder", "unfreeze_after": 2, "epochs": 4}
    run_training("thawed", optimizer=optimizer, **recipe)
    before = load(start)["state_dict"]
    everything = {name.split(".")[0] for name in before}
    assert changed(before, states[0]) == {"head"}
    assert changed(states[0], states[1]) == {"head"}
    assert changed(states[1], states[2]) == changed(states[2], states[3]) == everything
    assert learning == [{"head"}, {"head"}, everything, everything]


@pytest.mark.seconds
@pytest.mark.parametrize("saves", [4, 24, 34])
@pytest.mark.parametrize("optimizer", ["ranger", "adamw"])
def test_a_killed_one_goes_on_exactly(run_training, start: Path, monkeypatch, optimizer: str, saves: int) -> None:
    """Before the encoder learns, and after: ten steps an epoch."""
    recipe = {
        "initial_weights": str(start),
        "freeze": "encoder",
        "unfreeze_after": 2,
        "epochs": 4,
        "optimizer": optimizer,
    }
    whole = run_training("whole", **recipe)
    with monkeypatch.context() as patch:
        die_after(patch, saves)
        with pytest.raises(Killed):
            run_training("killed", checkpoint_minutes=OFTEN, **recipe)
    assert_same(whole, run_training("killed", **recipe))


@pytest.mark.slow
def test_two_processes_agree_on_what_learns(run_training, manifest: Path, tmp_path: Path) -> None:
    control = ("--set=freeze=encoder", "--set=freeze_random=true")
    line = command(manifest, tmp_path, "two", 2, *control, "--set=devices=2", "--set=batch_size=32")
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    one = run_training("one", freeze="encoder", freeze_random=True, epochs=1)
    assert changed(state(one), state(tmp_path / "two")) == {"head"}
    rows = [float(row["val_loss"]) for row in history(tmp_path / "two")]
    assert rows[1] < rows[0]


def test_frozen_parameters_are_in_no_group() -> None:
    model = build("transformer", n_features=7, n_classes=3, max_particles=16, **OPTIONS)
    let_learn(model, encoder=False)
    in_groups = {id(p) for group in build_optimiser(model, Training()).param_groups for p in group["params"]}
    assert in_groups == {id(p) for p in model.head.parameters()}


@pytest.mark.parametrize("name", cards.names("models"))
def test_a_frozen_network_answers_as_it_predicts(name: str) -> None:
    """Whatever its dropout and its normalisations; the head does not count, it is in training."""
    model = build(name, n_features=7, n_classes=5, max_particles=32, preset="tiny")
    batch = random_jets(6, 32, n_features=7)
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    with torch.no_grad():
        expected = model.eval().encode(batch).jet
    model.train()
    let_learn(model, encoder=False)
    jet = model.encode(batch).jet
    assert not jet.requires_grad
    torch.testing.assert_close(jet, expected, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, buffers[key]) for key, value in model.named_buffers())
    let_learn(model, encoder=True)
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_rates_of_a_network_of_three_blocks_by_hand() -> None:
    model = build(
        "transformer", n_features=7, n_classes=3, max_particles=16, **OPTIONS | {"blocks": 3, "readout": "mean"}
    )
    recipe = Training(learning_rate=1e-3, layer_decay=0.8, head_learning_rate_factor=10.0, weight_decay=0.1)
    rates = {id(p): group["peak"] for group in parameter_groups(model, recipe) for p in group["params"]}
    of = {name: rates[id(p)] for name, p in model.named_parameters()}
    expected = {
        "head": 1e-2,
        "readout": 8e-4,
        "layers.2": 8e-4,
        "layers.1": 6.4e-4,
        "layers.0": 5.12e-4,
        "embed": 4.096e-4,
    }
    seen = set()
    for name, rate in of.items():
        [part] = [part for part in expected if name.startswith(f"{part}.")]
        assert rate == pytest.approx(expected[part]), name
        seen.add(part)
    assert seen == expected.keys()
    decays = {group["weight_decay"] for group in parameter_groups(model, recipe)}
    assert decays == {0.0, 0.1}


def test_without_decay_the_groups_are_as_they_were() -> None:
    model = build("part", n_features=7, n_classes=3, preset="tiny")
    assert len(parameter_groups(model, Training(weight_decay=0.1, head_learning_rate_factor=2.0))) == 4


ORDER = {
    "part": ["embed", "pair_embed", "blocks.0", "blocks.1", "readout"],
    "parmat": ["embed", "pair_embed", "blocks.0", "readout"],
    "pfn": ["phi.0", "phi.2", "phi.4"],
    "particlenet": ["bn_fts edge_convs.0", "edge_convs.1"],
    "pcnn": ["stem", "units.0", "units.1", "units.2", "units.3"],
    "pointnet": [f"point_layers.{index} point_norms.{index}" for index in range(3)],
    "perceiver": ["embed latents", "layers.0", "layers.1", "layers.2"],
    "salt": ["embed", "blocks.0"],
}


@pytest.mark.parametrize("name", ORDER)
def test_blocks_stand_in_the_order_of_the_encoder(name: str) -> None:
    model = build(name, n_features=7, n_classes=5, max_particles=32, preset="tiny")
    names = {id(p): key for key, p in model.named_parameters()}
    for block, expected in zip(blocks(model), ORDER[name], strict=True):
        parts = expected.split()
        matching = [[part for part in parts if f"{names[id(p)]}.".startswith(f"{part}.")] for p in block]
        assert all(matching), [names[id(p)] for p in block]
        assert {part for found in matching for part in found} == set(parts)


@pytest.mark.parametrize("name", cards.names("models"))
def test_every_parameter_has_a_distance_from_the_head(name: str) -> None:
    model = build(name, n_features=7, n_classes=5, max_particles=32, preset="tiny")
    found = depths(model)
    assert found.keys() == {id(p) for p in model.parameters()}
    assert {p for p in map(id, model.parameters()) if not found[p]} == {id(p) for p in model.head.parameters()}
    assert set(found.values()) == set(range(max(found.values()) + 1))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"unfreeze_after": 2}, "nothing is frozen"),
        ({"freeze_random": True}, "nothing is frozen"),
        ({"freeze": "encoder", "unfreeze_after": 3, "epochs": 3}, "less than the 3 epochs, got 3"),
        ({"freeze": "encoder", "unfreeze_after": 1, "devices": 2}, "only with one device"),
        ({"freeze": "encoder", "layer_decay": 0.9}, "the encoder is frozen throughout"),
        ({"layer_decay": 1.1}, "less than or equal to 1"),
        ({"freeze": "head"}, "encoder"),
    ],
)
def test_recipes_that_make_no_sense(recipe: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training(**recipe)


def test_a_frozen_encoder_has_to_come_from_somewhere(run_training, start: Path, tmp_path: Path) -> None:
    with pytest.raises(
        JetloomError, match=r"training\.freeze: .*starts_from or initial_weights, or freeze_random: true"
    ):
        run_training(freeze="encoder")
    with pytest.raises(JetloomError, match="freeze_random: the encoder starts from other weights"):
        run_training(freeze="encoder", freeze_random=True, initial_weights=str(start))
    assert not (tmp_path / "a").exists()


def test_later_settings_that_are_not_given_make_nothing_anew() -> None:
    assert not {"freeze", "unfreeze_after", "freeze_random", "layer_decay"} & Training().learnt().keys()
    assert Training(layer_decay=0.8).learnt().items() - Training().learnt().items() == {("layer_decay", 0.8)}
