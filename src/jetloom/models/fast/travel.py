"""Four-vectors among the channels of heads, carried between the frames of items (LLoCa) with few passes over memory.

Weights are taken in another order: each component of all four-vectors together, so that a frame acts on them by one
matrix product, and of each head the four-vectors in front of the numbers.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, autograd
from torch.nn import functional

from jetloom.models.fast import regroup
from jetloom.models.fast.regroup import parted, regrouped, together

if TYPE_CHECKING:
    from jetloom.models.lloca_transformer import Block


def serves(x: Tensor, vectors: int) -> bool:
    """Where runs are regrouped, of heads that have any four-vectors."""
    return regroup.serves(x) and vectors > 0


def order(groups: int, heads: int, numbers: int, vectors: int) -> Tensor:
    """Places of channels in the order (component, group, head, vector), then (group, head, number).

    They stand in the order (group, a + 4 b, head), the components of a vector side by side.
    """
    width = numbers + 4 * vectors
    places = torch.arange(groups * width * heads).view(groups, width, heads)
    of_numbers, of_vectors = places.split([numbers, 4 * vectors], 1)
    of_vectors = of_vectors.unflatten(1, (vectors, 4)).permute(2, 0, 3, 1)
    return torch.cat([of_vectors.flatten(), of_numbers.transpose(1, 2).flatten()])


class _Compared(autograd.Function):
    """Queries with the metric, keys and values, head by head."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, numbers: Tensor, run: int) -> Tensor:
        """(n, 4, 3 H b) and (n, 3 H a) to (n, 3 H (4 b + a))."""
        ctx.run, ctx.groups = run, vectors.shape[2] // run
        flat = together(vectors, numbers, run)
        flat[:, : flat.shape[1] // 3, run : 4 * run].neg_()
        return flat.flatten(1)

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        run = ctx.run
        gradient = gradient.unflatten(1, (ctx.groups, -1))
        to_vectors = regrouped(gradient[..., : 4 * run].contiguous(), run)
        to_vectors[:, 1:, : to_vectors.shape[2] // 3].neg_()
        return to_vectors, gradient[..., 4 * run :].flatten(1), None


def compared(block: "Block", x: Tensor, to_global: Tensor) -> Tensor:
    """(n, D), normalised, to queries, keys and values (n, 3 H (4 b + a)) in the global frame, head by head.

    Args:
        block: whose weights.
        x: items.
        to_global: (n, 4, 4).
    """
    numbers, components = block.channels
    layer, run = block.query_key_value, components // 4
    rows = order(3, block.heads, numbers, run)
    projected = functional.linear(x, layer.weight.index_select(0, rows), layer.bias.index_select(0, rows))
    vectors, scalars = projected.split([3 * block.heads * components, 3 * block.heads * numbers], 1)
    vectors = torch.bmm(to_global, vectors.unflatten(1, (4, -1)))
    found: Tensor = _Compared.apply(vectors, scalars, run)
    return found


def arrived(block: "Block", attended: Tensor, to_local: Tensor) -> Tensor:
    """What the attention found, (n, H (4 b + a)), in the local frames and behind the last projection, (n, D)."""
    numbers, components = block.channels
    run = components // 4
    vectors, scalars = parted(attended.unflatten(-1, (block.heads, -1)), run)
    found = torch.cat([torch.bmm(to_local, vectors).flatten(1), scalars], 1)
    # The last projection has the head as the slowest index.
    places = torch.arange(found.shape[1]).view(block.heads, -1)
    of_numbers, of_vectors = places.split([numbers, components], 1)
    columns = torch.cat([of_vectors.unflatten(1, (run, 4)).permute(2, 0, 1).flatten(), of_numbers.flatten()])
    return functional.linear(found, block.out.weight.index_select(1, columns), block.out.bias)
