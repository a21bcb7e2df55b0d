"""NT-Xent, against the formula in float64, another package and its limits; what of a network it trains."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss
from torch.nn import functional

from jetloom.config import resolve_tasks
from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.tasks.contrastive.learn import Contrastive, nt_xent
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data
from tests.models.jets import random_jets, with_padding

DATA = Data(["a", "b"], [], inputs=[tuple(item) for item in FEATURE_SETS["kin"]])


def by_hand(rows: torch.Tensor, temperature: float) -> float:
    """Mean over the 2 B views of -ln [exp(s_ij / tau) / sum over k != i of exp(s_ik / tau)], term by term."""
    rows = rows.double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    total = len(rows)
    losses = []
    for i in range(total):
        j = (i + total // 2) % total
        terms = {k: math.exp(float(rows[i] @ rows[k]) / temperature) for k in range(total) if k != i}
        losses.append(-math.log(terms[j] / sum(terms.values())))
    return sum(losses) / total


def loss_of(answer: torch.Tensor, temperature: float = 0.1) -> tuple[float, dict[str, float]]:
    task = Contrastive(DATA, temperature=temperature)
    sums = task.sums(torch.device("cpu"))
    batch = random_jets(len(answer) // 2, 5, n_features=7)
    return task.loss(answer, batch, sums).item(), task.row(sums)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_that_of_the_paper(temperature):
    torch.manual_seed(1)
    first = torch.randn(12, 6)
    answer = torch.cat([first, first + 0.5 * torch.randn(12, 6)])
    loss, row = loss_of(answer, temperature)
    assert loss == pytest.approx(by_hand(answer, temperature), rel=1e-5)
    assert row["loss"] == pytest.approx(loss, rel=1e-6)
    assert loss_of(answer.roll(12, 0), temperature)[0] == pytest.approx(loss, rel=1e-5), "views may change places"
    # Without the partner among the terms of the sum, as in other papers, the loss would be lower.
    logits, partner = nt_xent(answer, temperature)
    without = logits.scatter(1, partner[:, None], -torch.inf).logsumexp(1) - logits.gather(1, partner[:, None])[:, 0]
    assert without.mean().item() < loss - 1e-3


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_and_gradient_are_those_of_another_package(temperature):
    torch.manual_seed(3)
    answer = torch.randn(2 * 16, 8, requires_grad=True)
    logits, partner = nt_xent(answer, temperature)
    ours = functional.cross_entropy(logits, partner)
    theirs = NTXentLoss(temperature=temperature)(answer, torch.arange(16).repeat(2))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(loss, answer)[0] for loss in (ours, theirs)))


def test_the_two_limits():
    torch.manual_seed(2)
    jets, wide = 64, 20_000
    random, row = loss_of(torch.randn(2 * jets, wide))
    assert random == pytest.approx(math.log(2 * jets - 1), abs=0.02)
    perfect, row = loss_of(torch.eye(jets).repeat(2, 1))
    assert perfect == pytest.approx(math.log1p((2 * jets - 2) * math.exp(-10)), rel=1e-4)
    assert row["accuracy"] == 1 and row["alignment"] == pytest.approx(0, abs=1e-6)
    # Orthogonal unit vectors are at the squared distance 2.
    assert row["uniformity"] == pytest.approx(-4, abs=1e-5)


def test_figures_by_hand():
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    second = torch.tensor([[0.0, 1.0], [0.0, 1.0], [-3.0, 0.0]])
    _, row = loss_of(torch.cat([first, second]))
    assert row["alignment"] == pytest.approx(2 / 3)
    # The first jet's views are not each other's nearest; those of the second one tie with the first one's second view.
    assert row["uniformity"] == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), rel=1e-5)
    task = Contrastive(DATA)
    outputs = task.outputs(torch.cat([first, second]))
    assert outputs[:, 0].tolist() == pytest.approx([2, 0, 0])
    assert outputs[0, 1] == 0 and outputs[2, 1] == 1
    assert loss_of(torch.randn(2, 3))[0] == 0, "a jet alone has nothing to be told from"


def network(task: Contrastive, name: str = "transformer", preset: str = "tiny") -> torch.nn.Module:
    torch.manual_seed(7)
    made = build(name, preset=preset, n_features=7, n_classes=task.width, max_particles=24)
    task.attach(made)
    return made


def test_everything_learns_and_the_head_is_a_new_one():
    task = Contrastive(DATA, projection=(8, 4))
    made = network(task)
    assert [tuple(layer.weight.shape) for layer in made.head if hasattr(layer, "weight")] == [(8, 32), (4, 8)]
    sums = task.sums(torch.device("cpu"))
    task.step(made, random_jets(16, 24, n_features=7), sums).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in made.parameters())
    assert sums["totals"][-1] == 16


def test_padding_and_key():
    task = Contrastive(DATA, augmentations=("rotation", "translation", "splitting", "smearing"))
    made, batch = network(task), random_jets(16, 24, n_features=7)
    losses = []
    for key, some in ((1, batch), (1, with_padding(batch, float("nan"))), (2, batch)):
        torch.manual_seed(key)
        losses.append(task.step(made, some, task.sums(torch.device("cpu"))).item())
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(task.answer(made, batch), task.answer(made, batch))


@pytest.mark.parametrize("augmentations", [("rotation",), ("splitting", "smearing"), ("translation",)])
def test_only_what_is_asked_for_is_done(augmentations):
    task, batch = Contrastive(DATA, augmentations=augmentations), random_jets(16, 24, n_features=7)
    torch.manual_seed(1)
    first, second = task.views(batch)
    moved = [(one.coordinates - batch.coordinates).abs().max() > 1e-3 for one in (first, second)]
    assert (
        moved == {"rotation": [True, True], "splitting": [False, True], "translation": [True, True]}[augmentations[0]]
    )
    assert ("splitting" in augmentations) == (second.mask.sum() > batch.mask.sum())
    assert first.mask.sum() == batch.mask.sum()


def test_it_learns_to_find_partners():
    task = Contrastive(DATA)
    made, batch = network(task), random_jets(64, 24, n_features=7, seed=3)
    optimiser = torch.optim.AdamW(made.parameters(), 3e-3)
    rows = []
    for step in range(30):
        torch.manual_seed(step)
        sums = task.sums(torch.device("cpu"))
        optimiser.zero_grad()
        task.step(made, batch, sums).backward()
        optimiser.step()
        rows.append(task.row(sums))
    assert rows[0]["loss"] > 0.8 * math.log(127) > 1.5 * rows[-1]["loss"]
    assert rows[-1]["accuracy"] > 0.6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"contrastive": {"temperature": 0}}, r"task\.contrastive\.temperature: expected a positive number, got 0"),
        ({"contrastive": {"projection": []}}, r"task\.contrastive\.projection: expected at least one width"),
        ({"contrastive": {"augmentations": []}}, r"task\.contrastive\.augmentations: expected at least one"),
        ({"contrastive": {"augmentations": ["flip"]}}, r"task\.contrastive\.augmentations: expected .*got \['flip'\]"),
        (["classification", "contrastive"], r"task: contrastive trains alone; let the other training start from it"),
    ],
)
def test_mistakes_are_one_line(value, message):
    with pytest.raises(JetloomError, match=message) as error:
        make(resolve_tasks(value, "task"), DATA)
    assert "\n" not in str(error.value)


def test_point_clouds_are_refused():
    with pytest.raises(JetloomError, match=r"^task\.contrastive: its views are of jets; the data are points$"):
        Contrastive(DATA._replace(kind="points"))
