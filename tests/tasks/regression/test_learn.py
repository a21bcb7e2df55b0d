"""Regression: what counts, what is learnt, in which units."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.tasks.regression.learn import Regression
from jetloom.tasks.task import Data

DATA = Data(["a", "b"], ["jet_pt", "jet_mass"])


def jets(*rows: tuple[float, float]) -> Batch:
    observers = torch.tensor(rows)
    return Batch(torch.zeros(len(rows), 1, 1), None, torch.zeros(len(rows), 1, 2), torch.ones(len(rows), 1) > 0,
                 observers=observers)  # fmt: skip


def attached(task: Regression, observers: np.ndarray) -> nn.Module:
    network = SimpleNamespace(jet_width=3, particle_width=None, head=nn.Linear(3, 1))
    task.attach(network)
    task.fit(network, lambda: observers.astype(np.float32), list)
    return network.head


def test_a_head_without_an_opinion_says_the_median():
    masses = np.exp(np.random.default_rng(1).normal(4, 0.3, 5001))
    head = attached(Regression(DATA, target="jet_mass"), np.stack([np.full(5001, 600.0), masses], axis=1))
    nn.init.zeros_(head.head.weight)
    nn.init.zeros_(head.head.bias)
    assert head(torch.zeros(2, 3))[:, 0].tolist() == pytest.approx([np.median(masses)] * 2, rel=1e-5)
    assert head.spread.item() == pytest.approx(0.3, rel=0.05), "half the central 68 % of the logarithm"


def test_the_loss_is_hubers_in_spreads_of_the_logarithm():
    task = Regression(DATA, target="jet_mass", relative_to="jet_pt", huber=0.5)
    rng = np.random.default_rng(2)
    pt, ratio = rng.uniform(500, 1000, 4000), np.exp(rng.normal(-2, 0.4, 4000))
    attached(task, np.stack([pt, pt * ratio], axis=1))
    sums = task.sums(torch.device("cpu"))
    predicted = torch.tensor([[0.1], [0.2], [0.3]])
    # The second has no mass, the third is off by more than the linear part begins.
    loss = task.loss(predicted, jets((500.0, 55.0), (500.0, 0.0), (500.0, 15.0)), sums)
    close, far = (abs(math.log(a / b)) / task._spread for a, b in ((0.1, 0.11), (0.3, 0.03)))
    assert loss.item() == pytest.approx((0.5 * close**2 + 0.5 * (far - 0.25)) / 2, rel=1e-5)
    row = task.row(sums)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert row["error"] == pytest.approx((abs(0.1 / 0.11 - 1) + abs(0.3 / 0.03 - 1)) / 2, rel=1e-5)
    assert sums["totals"].tolist()[2:] == [2, 3]


@pytest.mark.parametrize("value", [0.0, -3.0, math.nan, math.inf])
def test_a_jet_without_a_target_has_no_gradient(value):
    task = Regression(DATA, target="jet_mass")
    attached(task, np.stack([np.ones(10), np.arange(1.0, 11.0)], axis=1))
    predicted = torch.tensor([[2.0], [5.0]], requires_grad=True)
    task.loss(predicted, jets((1.0, 3.0), (1.0, value)), task.sums(torch.device("cpu"))).backward()
    assert predicted.grad[0] != 0
    assert predicted.grad[1] == 0
    none = task.loss(predicted, jets((1.0, value), (1.0, value)), task.sums(torch.device("cpu")))
    assert none.item() == 0


def test_truth_is_nan_where_there_is_none():
    task = Regression(DATA, target="jet_mass", relative_to="jet_pt")
    assert (task.columns, task.truths) == (["predicted_jet_mass_over_jet_pt"], ["true_jet_mass_over_jet_pt"])
    truth = task.truth(torch.tensor([[500.0, 50.0], [0.0, 50.0], [500.0, 0.0]]))[:, 0]
    assert truth[0].item() == pytest.approx(0.1)
    assert truth[1:].isnan().all()


def test_what_the_data_do_not_hold_is_one_line():
    with pytest.raises(JetloomError, match=r"^task\.regression: the data have no column 'jet_tau9'; allowed: jet_pt"):
        Regression(DATA, target="jet_tau9")
    with pytest.raises(JetloomError, match=r"^task\.regression: jet_mass is the same in 5 training jets"):
        attached(Regression(DATA, target="jet_mass"), np.full((5, 2), 80.0))
