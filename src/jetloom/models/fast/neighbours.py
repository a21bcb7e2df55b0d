"""The nearest few without a sort, and ties as the published codes decide them."""

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import eager, exporting, values_known, waits

ROWS = 16
"""Matrix products whose sizes are multiples of this round in the same way."""


def spare(width: int, length: int) -> int:
    """Slots to compute with behind ``width``, of the ``length`` that the published code has.

    A product of few rows rounds differently from one of many, so some of the slots that were cut off come back.
    """
    return max(0, min(-width % ROWS, length - width)) if values_known() else 0


def serves(x: Tensor) -> bool:
    """Where ties may be looked for: a GPU would have to be asked."""
    return eager() and not waits(x)


def smallest(distance: Tensor, number: int, filled: int, front_first: bool) -> tuple[Tensor, Tensor]:
    """Values and places (..., k) of the k smallest of each row (..., N), in rising order.

    Args:
        distance: inf where there is no particle.
        number: k.
        filled: length of the row at which ties are decided, the rest being inf.
        front_first: of equal distances those in front are taken.
    """
    width = distance.shape[-1]
    if width <= number:
        distance = functional.pad(distance, (0, number + 1 - width), value=torch.inf)
    values, places = distance.topk(number + 1, largest=False)
    # Only ties at the first and at the last place change which particles are taken.
    tied = (values[..., :-1] == values[..., 1:]) & values[..., 1:].isfinite()
    tied = tied[..., [0, -1]].any(-1)
    values, places = values[..., :number], places[..., :number]
    if tied.any():
        rows = distance[tied]
        rows = functional.pad(rows, (0, max(0, filled - rows.shape[-1])), value=torch.inf)
        values[tied], places[tied] = front_or_any(rows, number, front_first)
    return values, places.clamp_(max=width - 1)


def front_or_any(distance: Tensor, number: int, front_first: bool) -> tuple[Tensor, Tensor]:
    """The k smallest; of equal ones those in front, or those that torch's top-k takes."""
    # The top-k of ONNX, which has no stable sort, takes those in front.
    if front_first and not exporting():
        values, places = distance.sort(dim=-1, stable=True)
        return values[..., :number], places[..., :number]
    return distance.topk(number, largest=False)
