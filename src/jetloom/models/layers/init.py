"""Initial weights as Keras draws them."""

import math

from torch import Tensor, nn


def glorot_(tensor: Tensor, fan_in: int, fan_out: int) -> None:
    """Keras's default for weights: uniform within sqrt(6 / (fan_in + fan_out))."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(tensor, -limit, limit)


def keras_linear_(linear: nn.Linear) -> None:
    """Keras's default for a dense layer: Glorot uniform, bias 0."""
    glorot_(linear.weight, linear.in_features, linear.out_features)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
