"""Local frames from pairs of real items only, and only some of them at a time where no gradient is wanted."""

from collections.abc import Callable

import torch
from torch import Tensor

from jetloom.models.fast import packing
from jetloom.models.fast.all_pairs import PAIRS


def serves(mask: Tensor) -> bool:
    """Where the number of real items may decide over shapes without waiting for a GPU."""
    return packing.serves(mask, known=False)


def sum_over_others(
    weigh: Callable[[Tensor], Tensor],
    to_mass: Tensor,
    own: Tensor,
    other: Tensor,
    momenta: Tensor,
    mask: Tensor,
    pairs: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """sum_j w_ij u_ij of each particle i over the other items j of its jet, w = softmax of the weights over j.

    Args:
        weigh: rows (e, h), the sum of what the particle, the other item and the pair say, to K logarithms (e, K).
        to_mass: (h,), times the mass of the pair.
        own: (B, N, h), of particles, which are the last N items.
        other: (B, M, h), of items.
        momenta: (B, M, 4), of items.
        mask: (B, M).
        pairs: momenta (e, 4) twice to u (e, 4) and masses (e,).

    Returns:
        (n, K, 4) of the real particles.
    """
    references = mask.shape[1] - own.shape[1]
    items = mask.flatten().nonzero()[:, 0]
    particles = mask[:, references:].flatten().nonzero()[:, 0]
    own, other, momenta = own.flatten(0, 1)[particles], other.flatten(0, 1)[items], momenta.flatten(0, 1)[items]
    number, in_jet, real = mask.sum(1), mask[:, references:].sum(1), len(particles)
    others = (number - 1).repeat_interleave(in_jet, output_size=real)
    first = (number.cumsum(0) - number).repeat_interleave(in_jet, output_size=real)
    # Of each particle among the items.
    place = (mask.flatten().cumsum(0) - 1).view(mask.shape)[:, references:].flatten()[particles]
    most = int(others.max()) if real else 0
    rows = max(1, real)
    if not torch.is_grad_enabled() and most:
        rows = max(1, PAIRS.get(mask.device.type, real * most) // most)
    parts = []
    for start in range(0, max(1, real), rows):
        some = slice(start, start + rows)
        at, sender = _listed(others[some], first[some], place[some])
        directions, masses = pairs(momenta[place[some]].index_select(0, at), momenta.index_select(0, sender))
        x = own[some].index_select(0, at) + other.index_select(0, sender)
        x = torch.addcmul(x, masses[:, None].to(x.dtype), to_mass)
        parts.append(_weighted(weigh(x).to(momenta.dtype), directions, others[some], at))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _listed(others: Tensor, first: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of some particles: row of the particle, and place of the other item.

    Args:
        others: (r,) how many other items each has.
        first: (r,) where the items of its jet begin.
        place: (r,) of the particle itself.
    """
    pairs = int(others.sum())
    at = torch.arange(len(others), device=others.device).repeat_interleave(others, output_size=pairs)
    begin = (first - (others.cumsum(0) - others)).index_select(0, at)
    sender = torch.arange(pairs, device=others.device) + begin
    # A particle is not among its others: those behind it move up by one.
    return at, sender + (sender >= place.index_select(0, at))


def _weighted(scores: Tensor, directions: Tensor, others: Tensor, at: Tensor) -> Tensor:
    """sum_j softmax_j(scores) directions_j: (e, K) and (e, 4), of r particles in turn, to (r, K, 4)."""
    largest = torch.segment_reduce(scores.detach(), "max", lengths=others)
    weights = (scores - largest.index_select(0, at)).exp()
    terms = torch.cat([(weights[:, :, None] * directions[:, None]).flatten(1), weights], 1)
    sums = torch.segment_reduce(terms, "sum", lengths=others)
    total = sums[:, -weights.shape[1] :].masked_fill((others == 0)[:, None], 1.0)
    found: Tensor = sums[:, : -weights.shape[1]].unflatten(1, (-1, 4)) / total[:, :, None]
    return found
