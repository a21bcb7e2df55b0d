"""Several tasks on one encoder: the sum of what each would do alone."""

import numpy as np
import pytest
import torch

from jetloom.batch import Batch
from jetloom.config import resolve_tasks
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data

DATA = Data(["a", "b", "c"], ["jet_pt", "jet_mass"])
BOTH = [{"classification": {}}, {"regression": {"target": "jet_mass", "weight": 0.25}}]


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(6, 5, 7, generator=generator)
    vectors = torch.randn(6, 5, 4, generator=generator).abs() + 1
    observers = torch.tensor([[600.0, 80.0 + 10 * row] for row in range(6)])
    return Batch(features, vectors, features[..., :2], torch.ones(6, 5) > 0, torch.arange(6) % 3, observers)


def trained(task):
    torch.manual_seed(7)
    network = build("pfn", preset="tiny", n_features=7, n_classes=task.width)
    task.attach(network)
    task.fit(network, lambda: np.stack([np.full(50, 600.0), np.linspace(60, 140, 50)], axis=1).astype(np.float32), list)
    return network


def test_loss_sums_and_outputs_are_those_of_the_parts():
    task = make(resolve_tasks(BOTH, "task"), DATA)
    network = trained(task)
    assert task.columns == ["score_a", "score_b", "score_c", "predicted_jet_mass"]
    answer = network(batch())
    assert answer.shape == (6, 4)
    sums = task.validation_sums(torch.device("cpu"))
    loss = task.loss(answer, batch(), task.sums(torch.device("cpu")))
    task.score(answer, batch(), sums)
    classes, mass = (member.task for member in task.members)
    alone = [part.sums(torch.device("cpu")) for part in (classes, mass)]
    losses = classes.loss(answer[:, :3], batch(), alone[0]), mass.loss(answer[:, 3:], batch(), alone[1])
    assert loss.item() == pytest.approx(losses[0].item() + 0.25 * losses[1].item(), rel=1e-6)
    row = task.row(sums)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert row["accuracy"] == classes.row(alone[0])["accuracy"]
    assert row["jet_mass_error"] == mass.row(alone[1])["error"]
    assert {"auc", "classification_loss", "jet_mass_loss"} <= row.keys()
    outputs = task.outputs(answer)
    torch.testing.assert_close(outputs[:, :3], answer[:, :3].softmax(1))
    torch.testing.assert_close(outputs[:, 3], answer[:, 3])
    assert task.truth(batch().observers)[:, 0].tolist() == [80.0 + 10 * row for row in range(6)]


def test_the_main_task_starts_from_the_weights_that_it_has_alone():
    both, alone = trained(make(resolve_tasks(BOTH, "task"), DATA)), trained(make(resolve_tasks(None, "task"), DATA))
    torch.testing.assert_close(both(batch())[:, :3], alone(batch()), rtol=0, atol=0)


def test_every_head_and_the_encoder_learn():
    task = make(resolve_tasks(BOTH, "task"), DATA)
    network = trained(task)
    task.step(network, batch(), task.sums(torch.device("cpu"))).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("clasification", r"task: unknown name 'clasification' \(did you mean 'classification'\?\); allowed: "),
        ({"regression": {}}, r"task\.regression\.target: missing; it is required"),
        ({"regression": {"target": 3}}, r"task\.regression\.target: expected str, got 3"),
        ({"regression": {"goal": "x"}}, r"task\.regression: unknown option 'goal'.*allowed: target, relative_to"),
        ({"regression": 5}, r"task\.regression: expected options, got 5"),
        (["classification", "classification"], r"task: expected different tasks, at least one, got classification"),
        ([], r"task: expected different tasks, at least one, got none"),
        ({"classification": {"weight": 2}}, r"task\.classification\.weight: the first task has the weight 1"),
        (
            ["classification", {"regression": {"target": "jet_mass", "weight": -1}}],
            r"weight: expected a positive number",
        ),
    ],
)
def test_mistakes_are_one_line(value, message):
    with pytest.raises(JetloomError, match=message) as error:
        resolve_tasks(value, "task")
    assert "\n" not in str(error.value)


def test_two_aims_of_one_kind_are_two_tasks():
    both = [{"regression": {"target": "jet_mass"}}, {"regression": {"target": "jet_mass", "relative_to": "jet_pt"}}]
    chosen = resolve_tasks(both, "task")
    assert [item.title for item in chosen] == ["jet_mass", "jet_mass_over_jet_pt"]
    assert make(chosen, DATA).columns == ["predicted_jet_mass", "predicted_jet_mass_over_jet_pt"]
