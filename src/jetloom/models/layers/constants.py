"""Numbers of a formula on the device of its tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constants(numbers: Sequence[float], like: Tensor) -> Tensor:
    """(n,) numbers with type and device of a tensor.

    They are written by the device itself: for a copy from its own memory the host would wait until a GPU has done all
    that was asked of it before.
    """
    return torch.stack([like.new_full((), number) for number in numbers])
