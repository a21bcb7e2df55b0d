"""Less work for the same answer: no slots that no jet fills, and some jets at a time, which then fit into the cache."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.fast import eager

if TYPE_CHECKING:
    from jetloom.models.network import Network

SLOTS = 4096
"""Particle slots that go through a network at a time where it only predicts, on a CPU; more in narrow networks."""
CACHED = 1 << 17
"""Numbers that a thread keeps in its cache: half a megabyte, and the allocator reuses it where it would ask the system
for fresh pages."""


def run(network: "Network", function: Callable[[Batch], Any], batch: Batch) -> Any:
    """A function of a batch, without needless slots and in parts where no gradient is wanted.

    Args:
        network: whose function it is; says whether it reads padding and how wide it is.
        function: returns tensors whose first axis are the jets, or dictionaries or :class:`Encoded` of such.
        batch: as it comes.

    Returns:
        As ``function(batch)``; the particles of an :class:`Encoded` have all slots of the batch again.
    """
    if not eager():
        return function(batch)
    width = batch.mask.shape[1]
    if not network.reads_padding:
        batch = trimmed(batch)
    if not _divides(network, batch):
        return _widened(function(batch), width)
    slots = max(SLOTS, CACHED * torch.get_num_threads() // (network.particle_width or CACHED))
    return _by_parts(function, batch, slots, width, by_length=not network.reads_padding)


def trimmed(batch: Batch) -> Batch:
    """The batch without the slots that no jet fills, behind its last real particle."""
    filled = batch.mask.any(0).nonzero()
    width = int(filled[-1]) + 1 if len(filled) else 1
    return batch if width >= batch.mask.shape[1] else cut(batch, width)


def cut(batch: Batch, width: int) -> Batch:
    """The first slots of all jets."""
    return batch.map_slots(lambda x: x[:, :width])


def _divides(network: "Network", batch: Batch) -> bool:
    """Whether jets may go in parts: no gradient or statistics are wanted, and there is no GPU to fill."""
    return not (torch.is_grad_enabled() or network.training) and batch.mask.device.type == "cpu"


def _by_parts(function: Callable[[Batch], Any], batch: Batch, slots: int, width: int, by_length: bool) -> Any:
    """Jets of like length go together, no wider than the longest, unless padding is read."""
    number, longest = batch.mask.shape
    jets = max(1, slots // longest)
    if number <= jets:
        return _widened(function(batch), width)
    length = (batch.mask * torch.arange(1, longest + 1)).amax(1)
    order = length.argsort() if by_length else torch.arange(number)
    whole = None
    for part in order.split(jets):
        widest = max(1, int(length[part].max())) if by_length else longest
        some = batch.map(partial(_some, rows=part, end=widest))
        answer = _widened(function(some), width)
        whole = _empty(answer, number) if whole is None else whole
        _place(whole, part, answer)
    return whole


def _some(x: Tensor, rows: Tensor, end: int) -> Tensor:
    """Some jets, and of their slots the first."""
    return x[rows, :end] if x.dim() > 1 else x[rows]


def _widened(answer: Any, width: int) -> Any:
    """Particles with zeros in the slots that were cut off."""
    if isinstance(answer, dict):
        return {key: _widened(value, width) for key, value in answer.items()}
    if not hasattr(answer, "particles"):
        return answer
    own = answer.mask.shape[1]
    missing = width - own
    if missing <= 0:
        return answer
    particles = None if answer.particles is None else functional.pad(answer.particles, (0, 0, 0, missing))
    order = answer.order
    if order is not None:
        behind = torch.arange(own, width, device=order.device).expand(len(order), -1)
        order = torch.cat([order, behind], 1)
    return answer._replace(particles=particles, mask=functional.pad(answer.mask, (0, missing)), order=order)


def _empty(like: Any, jets: int) -> Any:
    """Room for the answer of so many jets."""
    if like is None:
        return None
    if isinstance(like, Tensor):
        return like.new_empty(jets, *like.shape[1:])
    if isinstance(like, dict):
        return {key: _empty(value, jets) for key, value in like.items()}
    return like._make(_empty(value, jets) for value in like)


def _place(whole: Any, rows: Tensor, part: Any) -> None:
    """Write the answers of some jets into the whole."""
    if isinstance(whole, Tensor):
        whole[rows] = part
    elif whole is not None:
        pairs = [(whole[key], part[key]) for key in whole] if isinstance(whole, dict) else zip(whole, part, strict=True)
        for into, value in pairs:
            _place(into, rows, value)
