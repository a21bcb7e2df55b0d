"""Masked particles: what is hidden, which codes they have, and a loss that weighs all of them alike."""

import math

import pytest
import torch

from jetloom.batch import Batch
from jetloom.catalogue import cards
from jetloom.config import parse_experiment, resolve_tasks
from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.packing import Packing
from jetloom.tasks.masked_token.learn import MaskedToken, covered, masked_number, masked_slots, particles
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data
from tests.models.jets import random_jets, resized, with_padding

DATA = Data(["a", "b"], [], inputs=[tuple(item) for item in FEATURE_SETS["kin"]], max_particles=24)
CPU = torch.device("cpu")
KEPT = [
    name
    for name in cards.names("models")
    for card in [cards.model_card(name)]
    if "jets" in card.inputs and not card.task and card.particles
]


def chosen_of(batch: Batch, chosen: torch.Tensor) -> torch.Tensor:
    """(n, 3) in the space of the codes."""
    assert batch.vectors is not None
    return particles(batch.vectors[chosen], batch.coordinates[chosen])


def jets(number: int = 16, seed: int = 1) -> Batch:
    return random_jets(number, 24, n_features=7, seed=seed)


def trained(task: MaskedToken, name: str = "transformer") -> torch.nn.Module:
    torch.manual_seed(7)
    network = build(name, preset="tiny", n_features=7, n_classes=task.width, max_particles=24)
    task.attach(network)
    task.fit(network, lambda: None, lambda: [jets(60, seed) for seed in range(10)])
    return network


def test_as_many_as_the_share_but_never_none_and_never_all():
    number = torch.tensor([0, 1, 2, 3, 10, 24])
    assert masked_number(number, 0.3).tolist() == [0, 0, 1, 1, 3, 7]
    assert masked_number(number, 0.99).tolist() == [0, 0, 1, 2, 9, 23]
    mask = jets(400).mask
    torch.manual_seed(1)
    hidden = masked_slots(mask, 0.3)
    assert not hidden[~mask].any()
    assert torch.equal(hidden.sum(1), masked_number(mask.sum(1), 0.3))
    # Every particle of full jets is drawn with the same probability.
    share = masked_slots(torch.ones(5000, 10, dtype=torch.bool), 0.3).float().mean(0)
    assert share.tolist() == pytest.approx([0.3] * 10, abs=0.03)


def test_nothing_is_left_of_what_is_hidden():
    batch, other = jets(), jets(seed=2)._replace(mask=jets().mask)
    torch.manual_seed(1)
    hidden = masked_slots(batch.mask, 0.5)
    stand_in = torch.arange(7.0)
    found = covered(batch, hidden, stand_in)
    # The same whatever was there.
    swapped = batch._replace(**{
        name: torch.where(hidden[..., None], getattr(other, name), getattr(batch, name))
        for name in ("features", "vectors", "coordinates")
    })  # fmt: skip
    for one, two in zip(found[:4], covered(swapped, hidden, stand_in)[:4], strict=True):
        assert torch.equal(one, two)
    assert torch.equal(found.features[hidden], stand_in.expand(int(hidden.sum()), 7))
    for name in ("features", "vectors", "coordinates"):
        assert torch.equal(getattr(found, name)[~hidden], getattr(batch, name)[~hidden])


def test_codes_are_those_of_the_paper():
    batch = jets()
    found = chosen_of(batch, batch.mask)
    pt = batch.vectors[batch.mask][:, :2].double().norm(dim=1)
    place = batch.coordinates[batch.mask].double()
    expected = torch.stack([pt.log() - 1.8, 3 * place[:, 0], 3 * place[:, 1]], 1)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_centres_and_frequencies_come_from_real_particles_of_the_training_split():
    task = MaskedToken(DATA, codes=32)
    head = trained(task).head
    kept = head.centres.clone(), head.frequency.clone()
    points = torch.cat([chosen_of(batch, batch.mask) for batch in (jets(60, seed) for seed in range(10))])
    distance = torch.cdist(points, head.centres)
    assert distance.amin(1).square().mean() < 0.5 * (points - points.mean(0)).square().sum(1).mean()
    count = torch.bincount(distance.argmin(1), minlength=32)
    torch.testing.assert_close(head.frequency, (count + 1) / (count.sum() + 32), atol=1e-3, rtol=0)
    assert head.frequency.sum().item() == pytest.approx(1)
    network = build("transformer", preset="tiny", n_features=7, n_classes=1, max_particles=24)
    task.attach(network)
    task.fit(network, list, lambda: [with_padding(jets(60, seed), float("nan")) for seed in range(10)])
    assert torch.equal(network.head.centres, kept[0]) and torch.equal(network.head.frequency, kept[1])


def losses(task: MaskedToken, network: torch.nn.Module, batch: Batch, key: int = 1) -> tuple[float, dict, list]:
    sums = task.sums(CPU)
    torch.manual_seed(key)
    network.zero_grad()
    loss = task.step(network, batch, sums)
    loss.backward()
    return loss.item(), task.row(sums), [parameter.grad.clone() for parameter in network.parameters()]


def test_the_loss_by_hand():
    task, batch = MaskedToken(DATA, codes=32), jets()
    network = trained(task).eval()
    loss, row, _ = losses(task, network, batch)
    torch.manual_seed(1)
    hidden = masked_slots(batch.mask, 0.3)
    head = network.head
    seen = covered(batch, hidden, head.stand_in)
    logits = head.logits(network.encode(seen), Packing(hidden)).double()
    distance = torch.cdist(chosen_of(batch, hidden).double(), head.centres.double())
    code = distance.argmin(1)
    nats = -logits.log_softmax(1).gather(1, code[:, None])[:, 0]
    # As many particles as a training jet has masked ones, for each jet.
    constant = 16 * masked_number(torch.cat([jets(60, seed).mask.sum(1) for seed in range(10)]), 0.3).float().mean()
    assert loss == pytest.approx((nats.sum() / constant).item(), rel=1e-4)
    assert row["loss"] == pytest.approx(nats.mean().item(), rel=1e-4)
    assert row["accuracy"] == pytest.approx((logits.argmax(1) == code).double().mean().item())
    assert row["masked"] == pytest.approx(hidden.sum().item() / 16)
    assert row["unigram"] == pytest.approx(-head.frequency[code].log().mean().item(), rel=1e-5)
    assert torch.isclose(task.answer(network, batch), task.answer(network, batch)).all()
    assert task.answer(network, batch).shape == (16, len(task.columns))


def test_a_network_without_an_opinion_is_at_ln_k():
    task = MaskedToken(DATA, codes=32)
    network = trained(task)
    torch.nn.init.zeros_(network.head.code.weight)
    row = losses(task, network, jets())[1]
    assert row["loss"] == pytest.approx(row["unigram"], rel=1e-5), "at first, how often each code occurs"
    torch.nn.init.zeros_(network.head.code.bias)
    assert losses(task, network, jets())[1]["loss"] == pytest.approx(math.log(32), rel=1e-6)


def test_more_padding_and_other_padding_change_nothing():
    task = MaskedToken(Data(["a"], [], inputs=DATA.inputs, max_particles=48), codes=32)
    network = trained(task).eval()
    batch = jets()
    loss, row, gradients = losses(task, network, batch)
    assert losses(task, network, with_padding(batch, float("nan")))[0] == loss
    torch.manual_seed(1)
    hidden = masked_slots(batch.mask, 0.3)
    wide = resized(batch, 48)
    # The same particles hidden, in twice as many slots.
    with pytest.MonkeyPatch.context() as patch:
        more = torch.nn.functional.pad(hidden, (0, 24))
        patch.setattr("jetloom.tasks.masked_token.learn.masked_slots", lambda mask, share: more)
        found, wide_row, wide_gradients = losses(task, network, wide)
    assert found == pytest.approx(loss, rel=1e-6)
    assert wide_row == pytest.approx(row, rel=1e-6)
    for one, two in zip(gradients, wide_gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-4)


def unigram_learnt(mean_of_batch: bool) -> float:
    """Share of code 0 that a table learns from jets with 2 masked particles of it and from others with 20 of code 1."""
    task = MaskedToken(DATA, codes=2)
    table = torch.zeros(2, requires_grad=True)
    optimiser, batch = torch.optim.Adam([table], 0.05), jets(8)
    for step in range(400):
        code, number = ((0, 2), (1, 20))[step % 2]
        # A batch of one bucket: eight jets.
        nats = -table.log_softmax(0)[code] * number * torch.ones(8)
        zeros = torch.zeros(8)
        answer = torch.stack([nats, zeros, zeros + number, zeros], 1)
        optimiser.zero_grad()
        loss = task.loss(answer, batch, task.sums(CPU))
        (nats.sum() / (8 * number) if mean_of_batch else loss).backward()
        optimiser.step()
    return table.softmax(0)[0].item()


def test_short_jets_weigh_no_more_than_they_should():
    """Buckets by length: a mean over the particles of a batch would count jets, not particles."""
    assert unigram_learnt(mean_of_batch=False) == pytest.approx(2 / 22, abs=0.02)
    assert unigram_learnt(mean_of_batch=True) == pytest.approx(1 / 2, abs=0.05)


@pytest.mark.parametrize("name", KEPT)
def test_every_encoder_that_keeps_particles_learns_all_it_has(name):
    task = MaskedToken(DATA, codes=32)
    network = trained(task, name)
    loss, row, gradients = losses(task, network.train(), with_padding(jets(), float("nan")))
    assert math.isfinite(loss) and row["masked"] > 1
    for (parameter, _), gradient in zip(network.named_parameters(), gradients, strict=True):
        assert gradient.isfinite().all(), parameter


@pytest.mark.slow
def test_it_learns_more_than_how_often_each_code_occurs():
    task = MaskedToken(DATA, codes=16, share=0.3)
    network = trained(task)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(120):
        torch.manual_seed(step)
        optimiser.zero_grad()
        task.step(network, jets(64, seed=step % 10), task.sums(CPU)).backward()
        optimiser.step()
    sums = task.sums(CPU)
    task.validate(network.eval(), jets(64, seed=100), sums)
    row = task.row(sums)
    assert row["loss"] < row["unigram"] - 0.2, "its rank tells something of the pT of a hidden particle"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"share": 0}, r"task\.masked_token\.share: expected a number between 0 and 1, got 0"),
        ({"share": 1}, r"task\.masked_token\.share: expected a number between 0 and 1, got 1"),
        ({"codes": 1}, r"task\.masked_token\.codes: expected at least 2, got 1"),
        ({"head_width": 6}, r"task\.masked_token: expected a head_width that 4 divides"),
        ({"cods": 6}, r"task\.masked_token: unknown option 'cods' \(did you mean 'codes'\?\)"),
    ],
)
def test_mistakes_are_one_line(value, message):
    with pytest.raises(JetloomError, match=message) as error:
        make(resolve_tasks({"masked_token": value}, "task"), DATA)
    assert "\n" not in str(error.value)


def test_data_and_networks_that_do_not_serve():
    task = MaskedToken(DATA)
    with pytest.raises(JetloomError, match=r"the training split has \d+ particles, fewer than codes = 100000$"):
        trained(MaskedToken(DATA, codes=100_000))
    with pytest.raises(JetloomError, match=r"^task\.masked_token: PCNN keeps no particles; choose another model$"):
        task.attach(build("pcnn", preset="tiny", n_features=7, n_classes=2, max_particles=24))
    with pytest.raises(JetloomError, match=r"the data are points$"):
        MaskedToken(DATA._replace(kind="points"))


@pytest.mark.parametrize("name", cards.names("models"))
def test_a_card_says_whether_particles_are_kept(name):
    card = cards.model_card(name)
    sizes = {"n_features": 7, "n_classes": 2, "max_particles": 32}
    preset = "tiny" if "tiny" in card.presets else next(iter(card.presets))
    assert (build(name, preset=preset, **sizes).particle_width is not None) == card.particles


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["pcnn"]}, r"^task masked_token of pcnn: pcnn keeps no particles; base it on another model$"),
        ({"models": ["pointnet"], "datasets": ["shapes-sim"]},
         r"^task masked_token of pointnet: learns from jets, shapes-sim holds points$"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_any_job(changes, message):
    experiment = {
        "experiment": "x",
        "datasets": ["jetclass-sim"],
        "seeds": [1],
        "preset": "tiny",
        "task": "masked_token",
    }
    with pytest.raises(JetloomError, match=message):
        parse_experiment(experiment | changes)
