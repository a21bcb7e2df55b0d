"""tanh by the sigmoid, of which torch has the faster one."""

import torch
from torch import Tensor

from jetloom.models.fast import eager


def serves(x: Tensor) -> bool:
    """In single precision on a CPU; a graph's compiler knows better."""
    return eager() and x.dtype == torch.float32 and x.device.type == "cpu"


def tanh(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """tanh u = 2 sigmoid(2 u) - 1 of u = alpha x + beta: torch's sigmoid is six times as fast as its tanh."""
    return (x * (2 * alpha)).add_(2 * beta).sigmoid_().mul(2.0).sub_(1.0)
