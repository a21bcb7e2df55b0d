"""The size s of a network in the study arXiv:2608.02735: one number that sets depth and heads of every architecture."""

from typing import Literal

Size = Literal[-2, -1, 0, 1, 2] | None
"""s; None: the widths are given one by one."""


def blocks_of(size: int) -> int:
    """round(3 * 2^((s + 3) / 2)): 4, 6, 8, 12, 17."""
    return round(3 * 2 ** ((size + 3) / 2))


def heads_of(size: int) -> int:
    """2^(3 + floor(s / 2)): 4, 4, 8, 8, 16."""
    return 1 << (3 + size // 2)
