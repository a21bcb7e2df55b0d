"""Layers work on real particles only, groups on those that hold any."""

from typing import Any

import torch
from torch import Tensor, autograd

from jetloom.models.fast import eager, waits


def serves(marks: Tensor, known: bool) -> bool:
    """Where the number of true ones may decide over shapes: the host knows it, or reads it from its own memory."""
    return eager() and (known or not waits(marks))


def places(marks: Tensor, number: int | None) -> Tensor:
    """(n,) places of the true ones of (K,) bool, rising.

    Args:
        marks: any number of them true.
        number: of true ones, where that is known; a GPU then need not be asked.
    """
    if number is None or not waits(marks):
        return marks.nonzero()[:, 0]
    place = (marks.cumsum(0) - 1).masked_fill(~marks, number)
    every = torch.arange(len(marks), device=marks.device)
    return every.new_empty(number + 1).scatter_(0, place, every)[:number]


def places_with_room(marks: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """(n,) places of the true ones of (K,) bool, rising, and of others behind them; (n,) bool, which are true.

    Args:
        marks: at most n of them true.
        room: n, where it is less than K.
    """
    number, every = marks.sum(), torch.arange(len(marks), device=marks.device)
    place = torch.where(marks, marks.cumsum(0) - 1, number + (~marks).cumsum(0) - 1)
    return torch.empty_like(every).scatter_(0, place, every)[:room], every[:room] < number


def real_rows(mask: Tensor, number: int | None) -> Tensor | None:
    """(n,) rows of the flattened (B N) batch that are real; None: all are.

    Args:
        mask: (B, N).
        number: n, where it is known.
    """
    rows = places(mask.flatten(), number)
    return rows if len(rows) < mask.numel() else None


def used_groups(filled: Tensor, place: Tensor, number: int | None) -> tuple[Tensor, Tensor]:
    """Groups (W, P) without the empty ones, and the place (n,) of each row among what is left.

    Args:
        filled: (W, P) bool, slots that are taken.
        place: (n,) of each row.
        number: of groups that hold any, where it is known.
    """
    size = filled.shape[1]
    used = filled.any(1)
    index = used.long().cumsum(0) - 1
    return filled[places(used, number)], index[place // size] * size + place % size


def slots(mask: Tensor) -> Tensor:
    """(B N,) packed row of each slot of (B, N), of padding the one before."""
    return (mask.flatten().cumsum(0) - 1).clamp_(min=0)


class _Spread(autograd.Function):
    """Each slot takes its row, padding any; only real slots have gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Tensor, rows: Tensor) -> Tensor:
        """(n, D) to (B N, D)."""
        ctx.save_for_backward(rows)
        return x.index_select(0, slots)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        return gradient.index_select(0, rows), None, None


def spread(x: Tensor, slots: Tensor, rows: Tensor) -> Tensor:
    """(n, D) to (B N, D), in one pass: of padding the result is not zero, and its gradient is dropped.

    Args:
        x: packed rows, one at least.
        slots: (B N,) of :func:`slots`.
        rows: (n,) slots that are real.
    """
    found: Tensor = _Spread.apply(x, slots, rows)
    return found
