"""Optimisers against their definitions, schedules against the recipes' numbers."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from jetloom.catalogue import cards
from jetloom.config import Training
from jetloom.models import build
from jetloom.training.flat_ranger import FlatRanger
from jetloom.training.module import Tagger
from jetloom.training.optimisers import Ranger, build_optimiser, parameter_groups, rate_factor, set_rate
from tests.models.jets import random_jets, random_tokens
from tests.support.outcome import history


def ranger_by_hand(start: np.ndarray, gradient, steps: int, rate: float, decay: float) -> np.ndarray:
    """Lookahead (algorithm 1 of arXiv:1907.08610) around RAdam (algorithm 2 of arXiv:1908.03265), written anew."""
    beta1, beta2, eps = 0.95, 0.999, 1e-5
    fast, slow = start.copy(), start.copy()
    first = second = np.zeros_like(start)
    longest = 2 / (1 - beta2) - 1
    for t in range(1, steps + 1):
        g = gradient(fast)
        first = beta1 * first + (1 - beta1) * g
        second = beta2 * second + (1 - beta2) * g * g
        fast = fast - rate * decay * fast
        mean = first / (1 - beta1**t)
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        if length > 5:
            rectified = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            fast = fast - rate * rectified * mean * math.sqrt(1 - beta2**t) / (np.sqrt(second) + eps)
        else:
            fast = fast - rate * mean
        if t % 6 == 0:
            slow = slow + 0.5 * (fast - slow)
            fast = slow.copy()
    return fast


@pytest.mark.parametrize("steps", [3, 6, 25])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_ranger_follows_its_definition(steps: int, decay: float) -> None:
    curvature, start = np.array([[1.0, 30.0], [0.1, 4.0]]), np.array([[1.0, -2.0], [3.0, 0.5]])
    model = nn.Linear(2, 2, bias=False).double()
    model.weight.data = torch.tensor(start)
    optimiser = build_optimiser(model, Training(optimizer="ranger", learning_rate=0.01, weight_decay=decay))
    for _ in range(steps):
        optimiser.zero_grad()
        (0.5 * torch.tensor(curvature) * model.weight**2).sum().backward()
        optimiser.step()
    expected = ranger_by_hand(start, lambda x: curvature * x, steps, 0.01, decay)
    np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("steps", [3, 6, 25])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_flat_ranger_follows_the_same_definition(steps: int, decay: float) -> None:
    curvature, start = np.array([[1.0, 30.0], [0.1, 4.0]]), np.array([[1.0, -2.0], [3.0, 0.5]])
    halves = [nn.Parameter(torch.tensor(start[:, :1])), nn.Parameter(torch.tensor(start[:, 1:]))]
    optimiser = FlatRanger(halves, lr=0.01, weight_decay=decay)
    for _ in range(steps):
        optimiser.zero_grad()
        (0.5 * torch.tensor(curvature) * torch.cat(halves, 1) ** 2).sum().backward()
        optimiser.step()
    expected = ranger_by_hand(start, lambda x: curvature * x, steps, 0.01, decay)
    np.testing.assert_allclose(torch.cat(halves, 1).detach().numpy(), expected, rtol=1e-10)


def test_flat_ranger_and_ranger_go_on_from_each_other() -> None:
    """Also where a layer learns later, weights are changed by hand, and a frozen one has no gradient any more."""

    def steps(model: nn.Sequential, optimiser: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            optimiser.zero_grad()
            model[0].requires_grad_(10 <= number < 33)
            model(data[number]).square().mean().backward()
            set_rate(optimiser, 1 - number / 50)
            optimiser.step()
            if number == 20:
                with torch.no_grad():
                    model[2].weight[0] = 1.0

    torch.manual_seed(1)
    data = torch.randn(40, 16, 3, dtype=torch.float64)
    first = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    models = [copy.deepcopy(first) for _ in range(3)]
    groups = [[{"params": list(layer.parameters()), "peak": 0.01} for layer in (m[0], m[2])] for m in models]
    optimisers = [
        kind(own, lr=0.01, weight_decay=0.1) for kind, own in zip([Ranger, FlatRanger, Ranger], groups, strict=True)
    ]
    steps(models[0], optimisers[0], range(40))
    steps(models[1], optimisers[1], range(26))
    models[2].load_state_dict(models[1].state_dict())
    # As from a file: torch would let both write into the same tensors.
    optimisers[2].load_state_dict(copy.deepcopy(optimisers[1].state_dict()))
    steps(models[2], optimisers[2], range(26, 40))
    steps(models[1], optimisers[1], range(26, 40))
    for model in models[1:]:
        for p, q in zip(model.parameters(), models[0].parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-9)


def test_flat_ranger_takes_weights_that_were_put_into_the_model() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimiser = FlatRanger([weight], lr=0.1, weight_decay=0.0, every=2)
    for _ in range(5):
        weight.grad = torch.ones(3)
        optimiser.step()
    with torch.no_grad():
        weight.fill_(7.0)
    slow = optimiser.state[weight]["slow"]
    optimiser.take_weights()
    # Recorded steps read them where they lie.
    assert optimiser.state[weight]["slow"] is slow
    assert optimiser.state_dict()["state"][0]["slow"].tolist() == [7.0] * 3
    weight.grad = torch.zeros(3)
    optimiser.step()
    assert (weight < 7.0).all() and (weight > 6.5).all()


def test_flat_ranger_plans_a_recorded_step_before_it_is_played_back(monkeypatch) -> None:
    """While it is recorded nothing is counted, and nobody may begin to learn."""
    weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    ordinary, recorded = (FlatRanger([weight], lr=0.1, weight_decay=0.1) for weight in weights)
    for number in range(8):
        for weight in weights:
            weight.grad = torch.full((3,), number - 2.5)
        ordinary.step()
        if not number:
            recorded.step()
            continue
        recorded.plan()
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: True)
            patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
            recorded.step()
    assert torch.equal(*weights)
    assert [one.state_dict()["state"][0]["steps"] for one in (ordinary, recorded)] == [8, 8]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    weights[1].grad = None
    with pytest.raises(RuntimeError, match="other parameters learn"):
        recorded.step()


def test_adam_decays_the_weights_themselves() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    optimiser = build_optimiser(model, Training(optimizer="adam", learning_rate=0.1, weight_decay=0.5))
    model.weight.grad = torch.zeros(1, 1)
    optimiser.step()
    # With the decay in the gradient Adam would take a whole step of 0.1.
    assert model.weight.item() == pytest.approx(1 - 0.1 * 0.5)


@pytest.mark.parametrize("name", ["ranger", "adam", "adamw"])
def test_state_goes_on_exactly(name: str, tmp_path) -> None:
    torch.manual_seed(1)
    data = torch.randn(40, 16, 3)
    recipe = Training(optimizer=name, weight_decay=0.01)

    def steps(model: nn.Module, optimiser: torch.optim.Optimizer, batches: torch.Tensor) -> None:
        for batch in batches:
            optimiser.zero_grad()
            model(batch).square().mean().backward()
            optimiser.step()

    whole = nn.Linear(3, 4)
    halved = copy.deepcopy(whole)
    steps(whole, build_optimiser(whole, recipe), data)
    before = build_optimiser(halved, recipe)
    # In mid-cycle of the Lookahead.
    steps(halved, before, data[:22])
    torch.save({"model": halved.state_dict(), "optimiser": before.state_dict()}, tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    resumed = nn.Linear(3, 4)
    resumed.load_state_dict(state["model"])
    after = build_optimiser(resumed, recipe)
    after.load_state_dict(state["optimiser"])
    steps(resumed, after, data[22:])
    assert torch.equal(whole.weight, resumed.weight)
    assert torch.equal(whole.bias, resumed.bias)


def test_ranger_state_holds_the_slow_weights() -> None:
    model = nn.Linear(3, 2)
    start = model.weight.detach().clone()
    optimiser = build_optimiser(model, Training(optimizer="ranger"))
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    slow = [entry["slow"] for entry in optimiser.state_dict()["state"].values() if entry["slow"].ndim == 2]
    assert torch.equal(slow[0], start)
    assert not torch.equal(model.weight, start)


def test_flat_decay_of_fifty_epochs() -> None:
    """ParT on JetClass: 35 epochs at 1e-3, then 15 that fall by the same factor to 1e-5."""
    recipe = Training(epochs=50, schedule="flat_decay", learning_rate=1e-3)
    rates = [1e-3 * rate_factor(recipe, 50, epoch, fraction) for epoch in range(50) for fraction in (0.0, 0.99)]
    starts, ends = rates[::2], rates[1::2]
    assert starts == ends
    assert starts[:35] == [1e-3] * 35
    ratios = np.array(starts[35:]) / np.array(starts[34:-1])
    np.testing.assert_allclose(ratios, 0.01 ** (1 / 15))
    assert starts[-1] == pytest.approx(1e-5)


def test_other_schedules() -> None:
    cosine = Training(schedule="cosine", warmup_fraction=0.1)
    values = [rate_factor(cosine, 10, epoch, fraction) for epoch in range(10) for fraction in (0.0, 0.5)]
    assert values[:3] == [0.0, 0.5, 1.0]
    assert values[11] == pytest.approx(0.5)
    assert values[2:] == sorted(values[2:], reverse=True)
    assert rate_factor(cosine, 10, 9, 0.9999) < 1e-6
    assert {rate_factor(Training(schedule="constant"), 10, epoch, 0.5) for epoch in range(10)} == {1.0}
    # Too short to decay at all.
    assert rate_factor(Training(schedule="flat_decay"), 3, 2, 0.0) == 1.0


def test_rates_of_lorentznet() -> None:
    """35 epochs: 5 of warm-up, torch's own warm restarts (T0 = 4, Tmult = 2), and halves from epoch 31 on."""
    recipe = Training(schedule="restarts", warmup_fraction=5 / 35)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=4, T_mult=2)
    for epoch in range(35):
        for fraction in (0.0, 0.25):
            factor = rate_factor(recipe, 35, epoch, fraction)
            peer.step(max(0.0, min(epoch + fraction, 31) - 5))
            if epoch < 5:
                assert factor == pytest.approx((epoch + fraction) / 5)
            else:
                halvings = max(0, epoch - 30)
                assert factor == pytest.approx(peer.get_last_lr()[0] / 2**halvings, abs=1e-9)


def test_rates_of_pct() -> None:
    """0.7 times the rate after each 5M jets, never below a thousandth."""
    recipe = Training(schedule="steps")
    values = [rate_factor(recipe, 200, 0, 0.5, jets) for jets in (0, 4_999_999, 5_000_000, 25_000_000, 10**9)]
    assert values == pytest.approx([1, 1, 0.7, 0.7**5, 1e-3])


@pytest.mark.parametrize("n_classes", [2, 5, 8, 10])
@pytest.mark.parametrize("name", cards.names("models"))
def test_parameter_groups_of_every_model(name: str, n_classes: int) -> None:
    model = build(name, n_features=7, n_classes=n_classes, max_particles=32, preset="tiny")
    recipe = Training(weight_decay=0.01, learning_rate=1e-4, head_learning_rate_factor=50)
    groups = parameter_groups(model, recipe)
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(p.numel() for p in model.parameters())
    named = {id(p): key for key, p in model.named_parameters()}
    for group in groups:
        for p in group["params"]:
            key = named[id(p)]
            # A codebook holds places, not weights.
            free = p.ndim == 1 or "cls_token" in key or key.endswith(("bias", "centres", "codebook.scale"))
            assert group["weight_decay"] == (0.0 if free else 0.01), named[id(p)]
    fast = [p for group in groups if group["peak"] > 1e-4 for p in group["params"]]
    # The layer whose output are the logits themselves.
    outputs = []
    model.last.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        tokens = cards.model_card(name).inputs == ["tokens"]
        logits = model.eval()(random_tokens(3, 16, codes=7) if tokens else random_jets(3, 16, n_features=7))
    assert torch.equal(outputs[-1].flatten(), logits.flatten())
    # PELICAN nano has one score for two classes.
    scores = 1 if name == "pelican_nano" and n_classes == 2 else n_classes
    assert {p.shape[0] for p in fast} == {scores}, [named[id(p)] for p in fast]
    # JEDI-linear normalises its logits.
    assert len(fast) <= (4 if name == "jedi_linear" else 2)


def test_rates_of_the_head() -> None:
    model = build("pfn", n_features=3, n_classes=2)
    optimiser = build_optimiser(model, Training(learning_rate=1e-4, head_learning_rate_factor=50))
    set_rate(optimiser, 0.5)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rates[id(model.head[0].weight)] == pytest.approx(5e-5)
    assert rates[id(model.head[-1].bias)] == pytest.approx(2.5e-3)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("name", ["ranger", "adam", "adamw"])
def test_two_steps_of_every_optimiser_precision_and_clip(run_training, name, precision, clip) -> None:
    output = run_training(optimizer=name, precision=precision, gradient_clip=clip, batch_size=300, epochs=1)
    (row,) = history(output)
    assert row["step"] == "2"
    assert math.isfinite(float(row["train_loss"]))


def test_lookahead_goes_on_from_the_restored_weights(run_training, monkeypatch) -> None:
    """After the best weights of a phase were restored nothing pulls back to the later, worse ones."""
    accuracies, begun = iter([0.9, 0.1, 0.1, 0.9]), []
    start, finish = Tagger.on_train_epoch_start, Tagger.finish_epoch

    def on_train_epoch_start(self: Tagger) -> None:
        start(self)
        state = self.optimizers().optimizer.state
        parameters = [p for p in self.model.parameters() if p in state]
        begun.append([torch.cat([x.detach().flatten() for x in part]) for part in (
            parameters, [state[p]["slow"] for p in parameters],
        ) if part])  # fmt: skip

    monkeypatch.setattr(Tagger, "on_train_epoch_start", on_train_epoch_start)
    monkeypatch.setattr(Tagger, "finish_epoch", lambda self: finish(self) | {"val_accuracy": next(accuracies)})
    run_training(optimizer="ranger", batch_phases=[(64, 10), (64, 1)], patience=2)
    _, after_best, after_worse, restored = begun
    assert torch.equal(restored[0], after_best[0])
    assert not torch.equal(restored[0], after_worse[0])
    assert torch.equal(restored[1], restored[0])


def test_lookahead_from_new_weights_follows_its_definition() -> None:
    """Slow weights taken anew: the next Lookahead step ends half-way between them and where RAdam has come to."""
    torch.manual_seed(1)
    model = nn.Linear(3, 2, bias=False)
    optimiser = build_optimiser(model, Training(optimizer="ranger", learning_rate=0.01))
    twin, model_of_twin = None, None
    for step in range(6):
        if step == 3:
            model.weight.data.fill_(5.0)
            optimiser.take_weights()
            model_of_twin = copy.deepcopy(model)
            twin = build_optimiser(model_of_twin, Training(optimizer="ranger", learning_rate=0.01))
            twin.load_state_dict(copy.deepcopy(optimiser.state_dict()))
            # Never looks ahead: it tells how far RAdam alone would come.
            twin.every = 1000
        for net, of in ((model, optimiser), (model_of_twin, twin)):
            if net is not None:
                of.zero_grad()
                net.weight.square().sum().backward()
                of.step()
    np.testing.assert_allclose(model.weight.detach(), (5.0 + model_of_twin.weight.detach()) / 2, rtol=1e-6)
