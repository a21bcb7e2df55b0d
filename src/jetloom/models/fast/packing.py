"""Layers work on real particles only, groups on those that hold any."""

from torch import Tensor

from jetloom.models.fast import eager


def serves() -> bool:
    """Where the number of real particles may decide over shapes."""
    return eager()


def real_rows(mask: Tensor) -> Tensor | None:
    """(n,) rows of the flattened (B N) batch that are real; None: all are."""
    rows = mask.flatten().nonzero()[:, 0]
    return rows if len(rows) < mask.numel() else None


def used_groups(members: Tensor, filled: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Groups (W, P) without the empty ones, and the place (n,) of each row among what is left."""
    size = members.shape[1]
    used = filled.any(1)
    index = used.long().cumsum(0) - 1
    return members[used], filled[used], index[place // size] * size + place % size
