"""What is linear beside a linear map, built into the map."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from jetloom.models.fast import on

if TYPE_CHECKING:
    from jetloom.models.layers.norm import RealBatchNorm


def serves(norm: "RealBatchNorm") -> bool:
    """Outside training, where a batch normalisation is a linear map."""
    return on() and not norm.training


def running(norm: "RealBatchNorm") -> tuple[Tensor, Tensor]:
    """Scale (D,) and shift (D,) that the running normalisation is."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def batch_norm(norm: "RealBatchNorm", weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight (D, K) and bias (D,) of the linear layer before, with the running normalisation built in."""
    scale, shift = running(norm)
    return weight * scale[:, None], shift if bias is None else bias * scale + shift


def layer_norm(norm: nn.LayerNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (D, K) and bias (D,) of the linear layer behind, with the scale and shift of the norm built in."""
    return weight * norm.weight, bias + (weight * norm.bias).sum(1)


def serves_scale() -> bool:
    """Everywhere: weights are fewer than what they are multiplied with."""
    return on()


def scaled(layer: nn.Linear, scale: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of ``scale(layer(x))``, where scale is linear and acts on the last axis: it scales the rows."""
    return scale(layer.weight.t()).t(), scale(layer.bias)
