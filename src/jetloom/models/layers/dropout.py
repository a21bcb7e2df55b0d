"""Dropout (arXiv:1207.0580)."""

from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import dropout as kernel


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """In training, numbers are dropped with a probability and the others scaled to keep the mean."""
    if not training or probability == 0.0:
        return x
    if kernel.serves(x):
        return kernel.dropout(x, probability)
    return functional.dropout(x, probability)
