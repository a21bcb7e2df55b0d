"""Weights in 16 bit, whose masters stay in float32 (mixed precision training, arXiv:1710.03740, section 3.1).

By itself torch's autocast rounds each weight where a product takes it, and each time. Gains and scales stay as they
are, and what they are multiplied with becomes float32 again. Here all weights are copied to bfloat16 at once, and as
long as a network computes the copies stand in the places of its parameters. Gradients come to the masters through the
copy, in float32; optimiser, checkpoints and the network itself know masters only.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, autograd, nn

from jetloom.batch import Batch
from jetloom.models.fast import eager, full_precision, on, private_operators

Result = TypeVar("Result")
SHORT = torch.bfloat16


def serves(x: Tensor) -> bool:
    """Under autocast to bfloat16, which has the range of float32."""
    device = x.device.type
    return on() and torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == SHORT


class _Copies(autograd.Function):
    """All weights in a few launches, and all their gradients."""

    @staticmethod
    def forward(ctx: Any, *masters: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        copies = [torch.empty_like(master, dtype=SHORT) for master in masters]
        torch._foreach_copy_(copies, masters)
        ctx.mark_non_differentiable(
            *(copy for copy, learns in zip(copies, ctx.needs_input_grad, strict=True) if not learns)
        )
        return tuple(copies)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        there = [gradient for gradient in gradients if gradient is not None]
        wide = [torch.empty_like(gradient, dtype=torch.float32) for gradient in there]
        torch._foreach_copy_(wide, there)
        ordered = iter(wide)
        return tuple(None if gradient is None else next(ordered) for gradient in gradients)


def run(network: nn.Module, function: Callable[[Batch], Result], batch: Batch) -> Result:
    """A function of a network, computed with copies in the places of its weights.

    Those of a batch normalisation keep the float32 of its statistics, and so do those of modules that are ``single``.
    """
    places = list(_places(network))
    masters = [held[name] for held, name in places]
    _put(places, copies(masters))
    try:
        return function(batch)
    finally:
        _put(places, masters)


def copies(masters: Sequence[Tensor]) -> Sequence[Tensor]:
    """Weights in 16 bit, whose gradients come to their masters."""
    if masters and eager() and private_operators():
        together: tuple[Tensor, ...] = _Copies.apply(*masters)
        return together
    return [master.to(SHORT) for master in masters]


def _places(module: nn.Module) -> Iterator[tuple[dict[str, Any], str]]:
    """Where the weights of a module and of all in it are held."""
    if isinstance(module, nn.BatchNorm1d) or getattr(module, "single", False):
        return
    for name, weight in module._parameters.items():
        if weight is not None and weight.dtype == torch.float32:
            yield module._parameters, name
    for child in module.children():
        yield from _places(child)


def _put(places: Sequence[tuple[dict[str, Any], str]], weights: Sequence[Tensor]) -> None:
    for (held, name), weight in zip(places, weights, strict=True):
        held[name] = weight


def stand_in(weight: Tensor) -> bool:
    """Whether a weight is a copy."""
    return weight.dtype == SHORT


def normalised(norm: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A normalisation in 16 bit, whose statistics its operator computes in 32; autocast would widen all of it."""
    with full_precision(x):
        return norm(x.to(SHORT))
