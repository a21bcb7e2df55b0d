"""Less work for the same answer: no slots that no jet fills, and some jets at a time, which then fit into the cache.

What is learnt is the same too: where jets do not know of each other, gradients of all parts add up.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.fast import eager, waits

if TYPE_CHECKING:
    from jetloom.models.network import Network

SLOTS = 4096
"""Particle slots that go through a network at a time where it only predicts, on a CPU; more in narrow networks."""
LEARNT = 2048
"""Slots at a time in training, where jets do not know of each other: no jet is padded to a much longer one."""
CACHED = 1 << 17
"""Numbers that a thread keeps in its cache: half a megabyte, and the allocator reuses it where it would ask the system
for fresh pages."""


def run(network: "Network", function: Callable[[Batch], Any], batch: Batch) -> Any:
    """A function of a batch, without needless slots and in parts where jets do not know of each other.

    A GPU gets the slots of the bucket: how many of them are needless it would have to be asked, and its kernels are
    chosen anew for each width.

    Args:
        network: whose function it is; says whether it reads padding and how wide it is.
        function: returns tensors whose first axis are the jets, or dictionaries or :class:`Encoded` of such.
        batch: as it comes.

    Returns:
        As ``function(batch)``; the particles of an :class:`Encoded` have all slots of the batch again.
    """
    if not eager() or waits(batch.mask):
        return function(batch)
    width = batch.mask.shape[1]
    if not network.reads_padding:
        batch = trimmed(batch)
    learns = torch.is_grad_enabled() or network.training
    if learns and not network.jets_apart:
        return _widened(function(batch), width)
    threads = torch.get_num_threads()
    slots = LEARNT if learns else max(SLOTS, CACHED * threads // (network.particle_width or CACHED))
    return _by_parts(function, batch, slots, width, by_length=not network.reads_padding)


def trimmed(batch: Batch) -> Batch:
    """The batch without the slots that no jet fills, behind its last real particle."""
    filled = batch.mask.any(0).nonzero()
    width = int(filled[-1]) + 1 if len(filled) else 1
    return batch if width >= batch.mask.shape[1] else cut(batch, width)


def cut(batch: Batch, width: int) -> Batch:
    """The first slots of all jets."""
    return batch.map_slots(lambda x: x[:, :width])


def _by_parts(function: Callable[[Batch], Any], batch: Batch, slots: int, width: int, by_length: bool) -> Any:
    """Jets of like length go together, no wider than the longest, unless padding is read."""
    number, longest = batch.mask.shape
    jets = max(1, slots // longest)
    if number <= jets:
        return _widened(function(batch), width)
    length = (batch.mask * torch.arange(1, longest + 1)).amax(1)
    order = length.argsort() if by_length else torch.arange(number)
    answers = []
    for part in order.split(jets):
        widest = max(1, int(length[part].max())) if by_length else longest
        some = batch.map(partial(_some, rows=part, end=widest))
        answers.append(_widened(function(some), width))
    return _joined(answers, order.argsort())


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


def _joined(answers: Sequence[Any], rows: Tensor) -> Any:
    """The answers of all parts in one, jets in the order of ``rows``."""
    first = answers[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(answers)).index_select(0, rows)
    if isinstance(first, dict):
        return {key: _joined([answer[key] for answer in answers], rows) for key in first}
    return first._make(_joined(values, rows) for values in zip(*answers, strict=True))
