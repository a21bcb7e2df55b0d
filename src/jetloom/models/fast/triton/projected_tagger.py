"""A whole SAL-T or Linformer in one kernel where it only predicts.

Networks of some thousand weights compute little with each particle; step by step they read and write it dozens of
times. Here a program has a jet: it reads its features, once they are in order, and writes its logits.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from jetloom.models.fast.triton import LEAST, exactness, tile
from jetloom.models.fast.triton import serves as wanted

if TYPE_CHECKING:
    from jetloom.batch import Batch
    from jetloom.models.linformer import ProjectedAttention, ProjectedTagger, Projection
    from jetloom.models.small_tagger import Block

WIDEST = 32
"""Channels, hidden ones too, and mixtures of all heads."""
BLOCK = 32
"""Particles of a tile."""
WARPS = 4
"""With fewer a program for sm_90 has not enough registers (Triton 3.6 and 3.8, ptxas)."""


class Jets(NamedTuple):
    """What is read of the particles."""

    features: Tensor
    """(B, N, F)"""
    marks: Tensor
    """(B, N) uint8, 1 for a real particle."""
    order: Tensor
    """(B, N) int64, the slots in the order of the network; anything, where they are in it."""


class Weights(NamedTuple):
    """All of a network."""

    embed: Tensor
    embed_bias: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    to_keys: Tensor
    """E."""
    to_values: Tensor
    """F."""
    score_kernel: Tensor
    """(h, p), the mean of the convolutions; anything, where there is none."""
    out: Tensor
    out_bias: Tensor
    alpha1: Tensor
    beta1: Tensor
    fc1: Tensor
    fc1_bias: Tensor
    fc2: Tensor
    fc2_bias: Tensor
    alpha2: Tensor
    beta2: Tensor
    head1: Tensor
    head1_bias: Tensor
    head2: Tensor
    head2_bias: Tensor


@dataclass(frozen=True)
class Sizes:
    """What a program is compiled for. In capitals: rows or columns of its tiles."""

    inputs: int
    width: int
    hidden: int
    classes: int
    heads: int
    mixtures: int
    """p."""
    length: int
    """n."""
    capacity_of_keys: int
    """c of E; 0: it is no block-diagonal matrix."""
    capacity_of_values: int
    height: int
    """h of the convolution of scores; 0: there is none."""
    masked: bool
    """Whether padding is left out."""
    ordered: bool
    """Whether the slots are read in another order than they come."""
    exact: str
    """How the factors of single-precision products are rounded."""
    block: int

    @property
    def closes(self) -> bool:
        """Whether mixtures without any particle get no weight."""
        return self.masked and self.capacity_of_keys > 0

    @property
    def WIDTH(self) -> int:
        return tile(self.width)

    @property
    def HIDDEN(self) -> int:
        return tile(self.hidden)

    @property
    def CLASSES(self) -> int:
        return tile(self.classes)

    @property
    def OF_HEAD(self) -> int:
        """Mixtures of a head."""
        return _power(self.mixtures)

    @property
    def MIXTURES(self) -> int:
        """Of all heads."""
        return max(LEAST, _power(self.heads) * self.OF_HEAD)


def _power(number: int) -> int:
    """The power of two with room for so many."""
    return 1 << (number - 1).bit_length()


def serves(network: "ProjectedTagger", x: Tensor) -> bool:
    """Without gradients, for networks as the paper has them: one block, partitions by slots, a head of two layers, and
    at most 32 channels, hidden ones, classes, and mixtures of all heads. Others keep the formula.
    """
    if torch.is_grad_enabled() or not wanted(x) or len(network.blocks) != 1 or network.partitions:
        return False
    layers = _layers(network.head)
    if [type(layer) for layer in layers] != [nn.Linear, nn.ReLU, nn.Linear]:
        return False
    sizes = _sizes(network, x, False)
    widest = max(sizes.WIDTH, sizes.HIDDEN, sizes.CLASSES, sizes.MIXTURES)
    return layers[0].out_features == sizes.width and widest <= WIDEST


def logits(network: "ProjectedTagger", batch: "Batch", order: Tensor | None) -> Tensor:
    """What a network says (B, C) of jets.

    Args:
        network: one that is served.
        batch: with the slots that are read; those of padding are zero where they are read too.
        order: (B, N) slots in the order in which they are read; None: as they come.
    """
    from jetloom.models.fast.triton import projected_tagger_kernels

    features = batch.features
    if torch.is_autocast_enabled(features.device.type):
        features = features.to(torch.get_autocast_dtype(features.device.type))
    sizes = _sizes(network, features, order is not None)
    answer = features.new_empty(len(features), sizes.classes)
    marks = batch.mask.contiguous().view(torch.uint8)
    jets = Jets(features.contiguous(), marks, marks if order is None else order.contiguous())
    if len(features):
        projected_tagger_kernels.logits[(len(features),)](
            jets, _weights(network), answer, features.shape[1], sizes=sizes, num_warps=WARPS
        )
    return answer


def _parts(network: "ProjectedTagger") -> tuple["Block", "ProjectedAttention", "Projection", "Projection"]:
    """The block, its attention, E and F."""
    block = cast("Block", network.blocks[0])
    attention = cast("ProjectedAttention", block.attention)
    return block, attention, attention.key_projection, attention.value_projection or attention.key_projection


def _layers(head: nn.Module) -> list[Any]:
    """Without the sequences that they stand in."""
    return [layer for layer in head.modules() if not isinstance(layer, nn.Sequential)]


def _sizes(network: "ProjectedTagger", features: Tensor, ordered: bool) -> Sizes:
    block, attention, keys, values = _parts(network)
    return Sizes(
        inputs=features.shape[2], width=block.fc1.in_features, hidden=block.fc1.out_features,
        classes=_layers(network.head)[-1].out_features, heads=attention.heads, mixtures=keys.mixtures,
        length=keys.length, capacity_of_keys=keys.capacity, capacity_of_values=values.capacity,
        height=attention.height, masked=network.masked, ordered=ordered, exact=exactness(), block=BLOCK,
    )  # fmt: skip


def _weights(network: "ProjectedTagger") -> Weights:
    block, attention, keys, values = _parts(network)
    score_kernel = attention.score_kernel()
    first, _, second = _layers(network.head)
    return Weights(
        embed=network.embed.weight, embed_bias=network.embed.bias,
        query=attention.query.weight, key=attention.key.weight, value=attention.value.weight,
        to_keys=keys.weight, to_values=values.weight,
        score_kernel=keys.weight if score_kernel is None else score_kernel,
        out=attention.out.weight, out_bias=attention.out.bias, alpha1=block.norm1.alpha, beta1=block.norm1.beta,
        fc1=block.fc1.weight, fc1_bias=block.fc1.bias, fc2=block.fc2.weight, fc2_bias=block.fc2.bias,
        alpha2=block.norm2.alpha, beta2=block.norm2.beta,
        head1=first.weight, head1_bias=first.bias, head2=second.weight, head2_bias=second.bias,
    )  # fmt: skip
