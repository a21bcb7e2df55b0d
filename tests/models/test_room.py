"""Rows of fixed number, some of which are padding, in place of as many as there are particles and pairs."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from jetloom.batch import Room
from jetloom.models.layers.packing import Packing
from tests.models.rows import close, make, sample

# One for each way in which packed rows are used.
PACKED = [
    "part",
    "mipart",
    "parmat",
    "particlenet",
    "pct",
    "pfn",
    "pointnet",
    "transformer",
    "perceiver",
    "jedi_linear",
]


def learnt(model, batch):
    """Answer, gradients and statistics after a step in training without dropout."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        for name in ("dropout", "rate", "p"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    answer = model(batch)
    cross_entropy(answer, batch.label).backward()
    return [answer.detach(), *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()]


@pytest.mark.parametrize(("name", "more"), [*((name, 7) for name in PACKED), ("part", 0), ("part", 10_000)])
def test_padding_among_the_rows_changes_nothing(name, more) -> None:
    model, batch = make(name, "jets"), sample("jets", 32)
    length = batch.mask.sum(1)
    room = Room(int(length.sum()) + more, int((length * (length + 1) // 2).sum()) + more)
    for one, other in zip(learnt(model, batch), learnt(model, batch._replace(room=room)), strict=True):
        close(other, one, 1e-4)


def test_rows_are_as_many_as_there_is_room_for() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    packing = Packing(mask, room=Room(5, 0))
    assert packing.rows.tolist() == [0, 1, 3, 2, 4]
    assert packing.real.tolist() == [True] * 3 + [False] * 2
    x = torch.arange(1.0, 7.0).view(2, 3, 1)
    assert packing.pack(x).flatten().tolist() == [1, 2, 4, 0, 0]
    assert torch.equal(packing.unpack(packing.pack(x)), x * mask[..., None])
    assert packing.sums(packing.pack(x)).flatten().tolist() == [3, 4]
