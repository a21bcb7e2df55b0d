"""Several tasks at once on one encoder: a main one, and auxiliary ones whose losses are added with a weight each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.tasks.task import Headed, Sums, Task


class Member(NamedTuple):
    """One of several tasks."""

    name: str
    """Unique; the first part of the names of its sums and figures."""
    task: Task
    weight: float


class Heads(nn.Module):
    """Heads side by side.

    Args:
        heads: (B, K) to (B, width) each.
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, jet: Tensor) -> Tensor:
        """(B, sum of the widths)."""
        return torch.cat([head(jet).float() for head in self.heads], dim=1)


@dataclass
class Place:
    """Where a task puts its head: the encoder is shared, the head is not."""

    jet_width: int
    particle_width: int | None
    head: nn.Module


class Combined(Task):
    """A main task, which has the network's own head and names the outputs, and auxiliary ones with linear heads.

    Args:
        members: the main task first, with the weight 1.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members[0].task.data)
        self.members = tuple(members)
        self.main = members[0].task
        self.scale = next((item.task.scale for item in members if item.task.scale), None)  # type: ignore[misc]

    @property
    def columns(self) -> list[str]:
        """Those of all tasks."""
        return [column for member in self.members for column in member.task.columns]

    @property
    def truths(self) -> list[str]:
        """Those of all tasks."""
        return [name for member in self.members for name in member.task.truths]

    @property
    def width(self) -> int:
        """That of the main task."""
        return self.main.width

    def attach(self, network: Headed) -> None:
        """The network's own head for the main task, a linear layer for each other one."""
        own, widths = network.head, (network.jet_width, network.particle_width)
        places = [Place(*widths, own)]
        places += [Place(*widths, nn.Linear(network.jet_width, item.task.width)) for item in self.members[1:]]
        for member, place in zip(self.members, places, strict=True):
            member.task.attach(place)
        network.head = Heads([place.head for place in places])

    def fit(
        self, network: Headed, observers: Callable[[], NDArray[np.float32]], jets: Callable[[], Iterable[Batch]]
    ) -> None:
        """Each task its own head."""
        assert isinstance(network.head, Heads)
        for member, head in zip(self.members, network.head.heads, strict=True):
            member.task.fit(Place(network.jet_width, network.particle_width, head), observers, jets)

    def sums(self, device: torch.device) -> Sums:
        """The whole loss, and the sums of each task."""
        return super().sums(device) | self._named({item.name: item.task.sums(device) for item in self.members})

    def validation_sums(self, device: torch.device) -> Sums:
        """The same, as each task sums in validation."""
        own = {item.name: item.task.validation_sums(device) for item in self.members}
        return super().sums(device) | self._named(own)

    def loss(self, answer: Tensor, batch: Batch, sums: Sums) -> Tensor:
        """Sum of the losses times their weights."""
        losses = [
            member.weight * member.task.loss(part, batch, _of(member, sums)) for member, part in self._parts(answer)
        ]
        return self._whole(torch.stack(losses).sum(), batch, sums)

    def score(self, answer: Tensor, batch: Batch, sums: Sums) -> None:
        """Each task its own part; the whole loss is that of the tasks."""
        losses = []
        for member, part in self._parts(answer):
            own = _of(member, sums)
            before = own["totals"][0].clone()
            member.task.score(part, batch, own)
            losses.append(member.weight * (own["totals"][0] - before) / len(batch.mask))
        self._whole(torch.stack(losses).sum(), batch, sums)

    def row(self, sums: Sums) -> dict[str, float]:
        """``loss`` is the whole one; the main task's other figures keep their names, those of the others get theirs."""
        row = super().row(sums)
        for member in self.members:
            for name, value in member.task.row(_of(member, sums)).items():
                row[name if member.task is self.main and name != "loss" else f"{member.name}_{name}"] = value
        return row

    def outputs(self, answer: Tensor) -> Tensor:
        """Those of all tasks side by side."""
        return torch.cat([member.task.outputs(part) for member, part in self._parts(answer)], dim=1)

    def said(self, answer: Tensor) -> str:
        """What the main task says."""
        return self.main.said(answer[:, : self.main.width])

    def truth(self, observers: Tensor) -> Tensor:
        """Those of all tasks side by side."""
        return torch.cat([member.task.truth(observers) for member in self.members], dim=1)

    def _parts(self, answer: Tensor) -> Iterable[tuple[Member, Tensor]]:
        widths = [member.task.width for member in self.members]
        return zip(self.members, answer.split(widths, dim=1), strict=True)

    def _whole(self, loss: Tensor, batch: Batch, sums: Sums) -> Tensor:
        jets = torch.full_like(loss.detach(), len(batch.mask))
        sums["totals"] += torch.stack([loss.detach() * jets, jets])
        return loss

    @staticmethod
    def _named(sums: dict[str, Sums]) -> Sums:
        return {f"{name}/{key}": value for name, own in sums.items() for key, value in own.items()}


def _of(member: Member, sums: Sums) -> Sums:
    """The sums of one task: the same tensors, under its own names."""
    return {
        key.removeprefix(f"{member.name}/"): value for key, value in sums.items() if key.startswith(f"{member.name}/")
    }
