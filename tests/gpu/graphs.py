"""Which steps are recorded on the pretended GPU, and which are not."""

from tests.support.pretended_gpu import recording  # isort: skip  (before torch)

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.training.graphs import FIXED, ORDINARY, Graphs
from tests.models.jets import random_jets

GPU = torch.device("cuda")
BEFORE = ORDINARY + FIXED


class Step:
    """Sum of the squares of what a layer makes of the first particle, and what became of a batch.

    Args:
        asks: for a number, in this thread; None: in another one.
    """

    def __init__(self, asks: bool | None = False) -> None:
        torch.manual_seed(0)
        self.layer, self.asks, self.ran = nn.Linear(17, 2).to(GPU), asks, 0
        self.before = torch.ones((), device=GPU)

    def __call__(self, batch: Batch) -> Tensor:
        self.ran += 1
        loss = self.layer(batch.features[:, 0]).square().sum()
        if self.asks:
            loss.item()
        if self.asks is None:
            other = Thread(target=self.before.item)
            other.start()
            other.join()
        loss.backward()
        return loss.detach()


def batches(number: int, width: int = 8) -> list[Batch]:
    """So many, all different."""
    return [random_jets(4, width, seed=seed).to(GPU) for seed in range(number)]


@contextmanager
def lasting(played: float) -> Iterator[None]:
    """An ordinary step takes one second, one that is played back so many."""
    times = iter([0.0, 1.0, 1.0, 1.0 + played])
    with patch.object(torch.cuda.Event, "clock", staticmethod(lambda: next(times))):
        yield


def choice(measured: bool = True, asks: bool | None = False, played: float = 0.5) -> dict[str, Any]:
    """Twelve steps of one shape, and the gradient of the last one beside what it should be."""
    step = Step(asks)
    graphs = Graphs(step, step.layer.parameters(), measured)
    with lasting(played), recording() as record:
        losses = [graphs.step(batch) for batch in batches(12)]
    found = {"done": [loss is not None for loss in losses], "ran": step.ran}
    found["graphs"] = sum(event.kind == "graph" for event in record.events)
    if losses[-1] is not None:
        gradient, last = step.layer.weight.grad, batches(12)[-1]
        assert gradient is not None
        again = torch.autograd.grad(step.layer(last.features[:, 0]).square().sum(), step.layer.weight)[0]
        found["error"] = float((gradient - again).abs().max())
    return found


def crowded() -> bool:
    """Whether a batch with more particles than the first one of its shape lets expect has an ordinary step."""
    step = Step()
    graphs = Graphs(step, step.layer.parameters(), measured=False)
    full = random_jets(4, 64, full=True)
    few = full._replace(mask=full.mask & (torch.arange(64) < 5))
    return [graphs.step(batch.to(GPU)) is None for batch in (few, full, few)] == [False, True, False]


def said(work: Callable[[], Any]) -> str:
    """The error of what must not be."""
    try:
        work()
    except JetloomError as error:
        return str(error)
    return ""


def all_choices() -> dict[str, Any]:
    """What was found."""
    shapes, step = Graphs(one := Step(), one.layer.parameters(), measured=False), one
    with recording() as record:
        for batch in [*batches(5), *batches(5, 12), *batches(2)]:
            shapes.step(batch)
        shapes.forget()
        for batch in batches(5):
            shapes.step(batch)
    return {
        "before": BEFORE,
        "faster": choice(),
        "slower": choice(played=2.0),
        "asks": choice(asks=True),
        "asks elsewhere": choice(asks=None),
        "must": said(lambda: choice(measured=False, asks=True)),
        "crowded": crowded(),
        "of three recordings": [sum(event.kind == "graph" for event in record.events), step.ran],
    }
