"""Attention over mixtures of particles without any query, key or value: mixing rows and mapping channels commute.

S_h = x M_h^T with M_h = E_h x (Wk_h Wq_h^T) / sqrt(d_h), and the output is sum_h A_h U_h with U_h = F_h x (Wv_h Wo_h).
What depends on the number of particles is three products with H p rows. Scores are kept as (B, H, p, N).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import exporting, on, values_known

if TYPE_CHECKING:
    from jetloom.models.linformer import ProjectedAttention
    from jetloom.models.small_tagger import Layout

CLOSED = -1e4
"""Score of a mixture without any particle."""


def serves() -> bool:
    """Everywhere."""
    return on()


def attend(attention: "ProjectedAttention", x: Tensor, layout: "Layout") -> Tensor:
    """The attention (B, N, d) of rows (B, N, d)."""
    heads = attention.heads
    keys, values = _mixtures(attention, x, layout)
    value = attention.value.weight.unflatten(0, (heads, -1))
    value_to_output = torch.einsum("hev,ohe->hvo", value, attention.out.weight.unflatten(1, (heads, -1)))
    per_output = _per_head(values, value_to_output)
    weights = _weights(attention, x, keys, layout).flatten(1, 2)
    attended = torch.bmm(per_output.flatten(1, 2).transpose(1, 2), weights.to(per_output.dtype))
    return (attended + attention.out.bias[:, None]).transpose(1, 2)


def _mixtures(attention: "ProjectedAttention", x: Tensor, layout: "Layout") -> tuple[Tensor, Tensor]:
    """E_h x and F_h x, each (B, H, p, d)."""
    first, second = attention.key_projection, attention.value_projection
    if second is None:
        mixtures = first.mixed(first.weight, x, layout)
        return mixtures, mixtures
    if type(first) is type(second):
        keys, values = first.mixed(torch.cat([first.weight, second.weight]), x, layout).chunk(2, 1)
        return keys, values
    return first.mixed(first.weight, x, layout), second.mixed(second.weight, x, layout)


def _weights(attention: "ProjectedAttention", x: Tensor, keys: Tensor, layout: "Layout") -> Tensor:
    """A: rows (B, N, d) and E x (B, H, p, d) to (B, H, p, N)."""
    heads = attention.heads
    query, key = (linear.weight.unflatten(0, (heads, -1)) for linear in (attention.query, attention.key))
    key_to_score = torch.einsum("hek,heq->hkq", key, query) * (x.shape[2] / heads) ** -0.5
    per_score = _per_head(keys, key_to_score)
    scores = torch.bmm(per_score.flatten(1, 2), x.transpose(1, 2)).unflatten(1, (heads, -1))
    scores = attention.refined(scores)
    closed = attention.closed(layout)
    if closed is not None:
        scores = scores.masked_fill(closed[:, None, :, None], CLOSED)
    if exporting():
        # onnxruntime transposes for a softmax over another than the last axis, which takes longer than these.
        likely = (scores - scores.amax(2, keepdim=True)).exp()
        return likely / likely.sum(2, keepdim=True)
    return scores.softmax(2)


def _per_head(x: Tensor, maps: Tensor) -> Tensor:
    """(B, H, p, d) times a matrix (H, d, k) per head."""
    if exporting():
        # onnxruntime needs no copy of the matrices for each jet, and takes longer to bring heads together.
        return x @ maps
    return torch.einsum("bhjd,hdk->bhjk", x, maps)


def mixed(weight: Tensor, x: Tensor) -> Tensor:
    """Weight (H, n, p) and rows (B, N, d), N <= n, to the mixtures (B, H, p, d)."""
    number, width = x.shape[1:]
    rows = x.transpose(1, 2).reshape(-1, number)
    mixtures = rows @ weight.transpose(0, 1).flatten(1)[:number]
    return mixtures.view(-1, width, len(weight), weight.shape[2]).permute(0, 2, 3, 1)


def mixed_in_partitions(weight: Tensor, x: Tensor, layout: "Layout", length: int) -> Tensor:
    """Weight (H, p, c) of blocks along a diagonal and rows (B, N, d), N <= n, to the mixtures (B, H, p, d).

    One product of matrices per partition, of the rows of all jets and channels with the weights of all heads.
    """
    partitions = weight.shape[1]
    if exporting() and layout.slots is None:
        # One product with the whole block-diagonal matrix, a constant of the graph, has the lower latency.
        blocks = weight[..., None] * torch.eye(partitions)[:, None]
        return mixed(blocks.flatten(1, 2)[:, :length], x)
    rows = _partition(x, layout, partitions, length)
    used, slots = rows.shape[1:3]
    rows = rows.permute(1, 0, 3, 2).reshape(used, -1, slots)
    mixtures = torch.bmm(weight[:, :used, :slots].transpose(0, 1), rows.mT)
    mixtures = mixtures.view(used, len(weight), x.shape[0], x.shape[2]).permute(2, 1, 0, 3)
    return mixtures if used == partitions else functional.pad(mixtures, (0, 0, 0, partitions - used))


def _partition(x: Tensor, layout: "Layout", partitions: int, length: int) -> Tensor:
    """The rows (B, N, d) by partition, (B, k, l, d): k partitions that may hold particles, l <= ceil(n / p) slots.

    Slots without a particle are zero.
    """
    if layout.slots is not None and layout.filled is not None:
        rows = x.gather(1, layout.slots[..., None].expand(-1, -1, x.shape[-1]))
        x = rows.masked_fill(~layout.filled[..., None], 0.0).unflatten(1, (partitions, -1))
        return x
    capacity = -(-length // partitions)
    number = x.shape[1]
    if not values_known():
        x = functional.pad(x, (0, 0, 0, partitions * capacity - number)).unflatten(1, (partitions, capacity))
        return x
    # A narrow bucket fills the first partitions only; the others stay empty and cost nothing.
    used = -(-number // capacity)
    if used == 1:
        return x[:, None]
    if number < used * capacity:
        x = functional.pad(x, (0, 0, 0, used * capacity - number))
    x = x.unflatten(1, (used, capacity))
    return x


def mean_kernel(kernels: list[Tensor]) -> Tensor:
    """The mean (h, p) of kernels (h', p), h' <= h, each extended by zeros to the tallest."""
    tallest = max(len(kernel) for kernel in kernels)
    margins = [(tallest - len(kernel)) // 2 for kernel in kernels]
    padded = [functional.pad(kernel, (0, 0, margin, margin)) for kernel, margin in zip(kernels, margins, strict=True)]
    return torch.stack(padded).mean(0)


def convolved(scores: Tensor, kernels: list[Tensor], biases: Tensor, column: Tensor) -> Tensor:
    """The mean of convolutions of scores (B, H, p, N) by kernels (h, p), as one Conv1d from p to p channels.

    A mean of convolutions is one convolution with the mean of the kernels, each extended by zeros to the tallest; a
    kernel as wide as its input is a matrix from mixtures to mixtures.

    Args:
        scores: (B, H, p, N).
        kernels: (h, p) each.
        biases: one for each kernel.
        column: (p, p), where in a kernel stands the weight of mixture i for mixture o; p: nowhere.
    """
    heads, mixtures = scores.shape[1:3]
    # A column of zeros stands for everything outside the kernel.
    mean = functional.pad(mean_kernel(kernels), (0, 1))
    weight = mean[:, column].permute(1, 2, 0).repeat(heads, 1, 1)
    bias = biases.mean().expand(mixtures).repeat(heads)
    scores = functional.conv1d(scores.flatten(1, 2), weight, bias, padding=len(mean) // 2, groups=heads)
    scores = scores.unflatten(1, (heads, -1))
    return scores
