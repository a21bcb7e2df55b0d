"""Pairs of real particles only, and only some of them at a time where no gradient is wanted."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jetloom.models.fast.packing import serves

__all__ = ["serves", "sum_over_senders"]

PAIRS = {"cpu": 1 << 14, "cuda": 1 << 22}
"""Pairs at a time where a network only predicts: on a CPU about so many as its cache holds."""


def sum_over_senders(
    rest: Callable[[Tensor], Tensor],
    receiver: Tensor,
    sender: Tensor,
    mask: Tensor,
    length: NDArray[np.int64] | None,
) -> Tensor:
    """sum_{j != i} rest(receiver_i + sender_j) over the particles j of the jet of i.

    Args:
        rest: of rows (e, D), which it may overwrite, to (e, D').
        receiver, sender: (n, D), the real particles of all jets in turn.
        mask: (B, N).
        length: (B,) its real particles; None: they are to be counted, on the CPU.

    Returns:
        (n, D')
    """
    number = mask.sum(1)
    length = number.numpy() if length is None else length
    real = int(length.sum())
    others = (number - 1).repeat_interleave(number, output_size=real)
    first = (number.cumsum(0) - number).repeat_interleave(number, output_size=real)
    most = int(length.max()) - 1 if real else 0
    # The number of pairs of the receivers up to one.
    pairs = np.append(0, np.repeat(length - 1, length).cumsum())
    rows = max(1, real)
    if not torch.is_grad_enabled() and most:
        rows = max(1, PAIRS.get(mask.device.type, real * most) // most)
    parts = []
    for start in range(0, max(1, real), rows):
        some = slice(start, min(start + rows, real))
        own = int(pairs[some.stop] - pairs[start])
        parts.append(_of_receivers(rest, receiver[some], sender, others[some], first, start, own))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _of_receivers(
    rest: Callable[[Tensor], Tensor],
    receiver: Tensor,
    sender: Tensor,
    others: Tensor,
    first: Tensor,
    start: int,
    pairs: int,
) -> Tensor:
    """The sum for some receivers in a row.

    Args:
        rest: as above.
        receiver: (r, D), some of them.
        sender: (n, D), all.
        others: (r,) how many senders each of these receivers has.
        first: (n,) where the jet of each particle begins.
        start: place of the first of these receivers.
        pairs: senders of all of these.
    """
    at = torch.arange(receiver.shape[0], device=others.device).repeat_interleave(others, output_size=pairs)
    begin = first[start : start + receiver.shape[0]] - (others.cumsum(0) - others)
    other = torch.arange(pairs, device=others.device) + begin.index_select(0, at)
    # A receiver is not among its senders: those behind it move up by one.
    other = other + (other >= at + start)
    message = rest(receiver.index_select(0, at) + sender.index_select(0, other))
    # Sums of many numbers need more than half precision.
    message = message.to(torch.promote_types(message.dtype, torch.float32))
    return message.new_zeros(receiver.shape[0], message.shape[1]).index_add(0, at, message)
