"""GELU together with the normalisation beside it, for training on a CPU: less to keep for the backward pass.

torch keeps the input of each of these steps until the backward pass; here the first one is kept and the others are
computed again, which costs a GELU and saves a third of the memory of a training step of ParT. On other devices, in
recorded graphs and with mixed precision the plain steps stand: there compilers make the same choice.
"""

from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch.nn import functional

from jetloom.models.fast import eager, private_operators
from jetloom.models.fast.dropout import applied, kept


def serves(x: Tensor, norm: nn.LayerNorm) -> bool:
    """With gradients, on a CPU, in one precision."""
    mixed = x.dtype != norm.weight.dtype or torch.is_autocast_enabled("cpu")
    plain = x.device.type != "cpu" or mixed or not torch.is_grad_enabled()
    return not plain and eager() and private_operators()


class _GeluDropoutNorm(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, probability: float) -> Tensor:
        mask, ctx.factor = kept(x.shape, probability) if probability else (None, 1.0)
        hidden = functional.gelu(x)
        if mask is not None:
            hidden = applied(hidden, mask, ctx.factor)
        out, mean, rstd = torch.native_layer_norm(hidden, weight.shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, rstd, mask)
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd, mask = ctx.saved_tensors
        hidden = functional.gelu(x)
        if mask is not None:
            hidden = applied(hidden, mask, ctx.factor)
        to_hidden, to_weight, to_bias = torch.ops.aten.native_layer_norm_backward(
            gradient.contiguous(), hidden, weight.shape, mean, rstd, weight, bias, [True, True, True]
        )
        if mask is not None:
            to_hidden = applied(to_hidden, mask, ctx.factor)
        return torch.ops.aten.gelu_backward(to_hidden, x), to_weight, to_bias, None, None


def gelu_dropout_norm(x: Tensor, norm: nn.LayerNorm, probability: float) -> Tensor:
    """``norm(dropout(gelu(x)))``; the probability is 0 outside training."""
    out: Tensor = _GeluDropoutNorm.apply(x, norm.weight, norm.bias, norm.eps, probability)
    return out
