"""ParMAT, the Particle Multi-Axis Transformer (arXiv:2406.06638).

ParT with two more attentions in each particle block, each over small groups of particles: *block* attention over
neighbours in the order of transverse momentum, *grid* attention over particles spread evenly over that order.
"""

from typing import Literal, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.kinematics import pt
from jetloom.models.fast import larger
from jetloom.models.fast import packing as kernel
from jetloom.models.layers.attention import CLOSED, attend, key_bias
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.embedding import ParticleEmbedding
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.normformer import NormFormerBlock
from jetloom.models.layers.order import largest_first
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.pairs import PairEmbedding, pair_bias
from jetloom.models.layers.readout import ClassAttention
from jetloom.models.network import Encoded, Looks, Network


class Groups(NamedTuple):
    """W groups of P slots, filled with packed particles; the same for all layers of a model."""

    filled: Tensor
    """(W, P) bool."""
    place: Tensor
    """(n,) slot of each packed row, counted through all groups; where padding is carried along, behind all of them, no
    two rows in one."""
    spare: int | None
    """Slots behind all groups; None: no padding is carried along."""

    def spread(self, x: Tensor) -> Tensor:
        """Packed (n, D) to the slots (W, P, D), zero in empty ones.

        Not a row for each slot, but a slot for each row: the gradient, too, then takes each number from one place.
        """
        number = self.filled.numel()
        flat = x.new_zeros(number if self.spare is None else number + self.spare, x.shape[-1])
        flat = flat.index_copy_(0, self.place, x)
        slots: Tensor = flat[:number].unflatten(0, self.filled.shape)
        return slots

    def collected(self, x: Tensor) -> Tensor:
        """(W, P, D) to packed (n, D)."""
        rows = x.flatten(0, 1)
        if self.spare is None:
            return rows.index_select(0, self.place)
        return functional.pad(rows, (0, 0, 0, self.spare)).index_select(0, self.place)


def rank_in_jet(batch: Batch, sort: Literal["pt", "input"]) -> Tensor:
    """(B, N) position of each particle among the real ones of its jet; padded slots get anything."""
    if sort == "input":
        return batch.mask.long().cumsum(1) - 1
    order = largest_first(pt(vectors_of(batch)).masked_fill(~batch.mask, -1.0))
    return torch.empty_like(order).scatter(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))


def group(rank: Tensor, packing: Packing, size: int, fewest_grid_groups: int | None) -> Groups:
    """Assign particles to groups.

    Args:
        rank: (B, N) of :func:`rank_in_jet`.
        packing: of the batch.
        size: P.
        fewest_grid_groups: None: block groups of P consecutive ranks; else grid groups of every G-th rank, with
            G this number, or more where a jet has more than G P particles.
    """
    mask = packing.mask
    jets, width = mask.shape
    groups = (width + size - 1) // size
    if fewest_grid_groups is None:
        index, slot = rank // size, rank % size
    else:
        number = mask.long().sum(1, keepdim=True)
        stride = ((number + size - 1) // size).clamp(min=fewest_grid_groups)
        index, slot = rank % stride, rank // stride
        groups = larger(groups, fewest_grid_groups)
    jet = torch.arange(jets, device=mask.device)[:, None]
    place = packing.pack(((jet * groups + index) * size + slot)[..., None])[:, 0]
    total, taken = jets * groups * size, torch.ones_like(place, dtype=torch.bool)
    if packing.real is not None:
        spare = place.shape[0]
        place = torch.where(packing.real, place, total + torch.arange(spare, device=mask.device))
        filled = taken.new_zeros(total + spare).scatter(0, place, taken)[:total].view(-1, size)
        return Groups(filled, place, spare)
    filled = taken.new_zeros(total).scatter(0, place, taken).view(-1, size)
    used = None if packing.length is None else _used_groups(packing.length, size, fewest_grid_groups)
    return Groups(*kernel.used_groups(filled, place, used), None)


def _used_groups(length: NDArray[np.int64], size: int, fewest_grid_groups: int | None) -> int:
    """How many groups of :func:`group` hold particles, from the number of particles of each jet."""
    groups = (length + size - 1) // size
    if fewest_grid_groups is not None:
        groups = np.minimum(length, np.maximum(groups, fewest_grid_groups))
    return int(groups.sum())


class GroupAttentionLayer(nn.Module):
    """x + MHA(LN x) inside groups, then x + FFN(LN x). Packed (n, D) to (n, D).

    Args:
        width, heads, ffn_ratio, dropout: as in ParT.
        size: P.
        relative: a learned bias for each head and distance inside a group.
    """

    offset: Tensor

    def __init__(self, width: int, heads: int, ffn_ratio: int, size: int, dropout: float, relative: bool) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm = LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.relative_position = (
            nn.Parameter(nn.init.trunc_normal_(torch.empty(2 * size - 1, heads), std=0.02)) if relative else None
        )
        self.ffn_norm = LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn_ratio * width), nn.GELU(), nn.Linear(ffn_ratio * width, width))
        slot = torch.arange(size)
        self.register_buffer("offset", slot[:, None] - slot[None, :] + size - 1, persistent=False)

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        """The layer."""
        x = x + self.drop(self.out_proj(self.attention(self.attention_norm(x), groups)))
        return x + self.drop(self.ffn(self.ffn_norm(x)))

    def attention(self, x: Tensor, groups: Groups) -> Tensor:
        """softmax(q k^T / sqrt(d) + position bias) v inside each group, heads side by side."""
        query, key, value = groups.spread(self.query_key_value(x)).chunk(3, -1)
        bias = torch.zeros_like(groups.filled, dtype=x.dtype).masked_fill(~groups.filled, CLOSED)[:, None, None, :]
        if self.relative_position is not None:
            bias = bias + self.relative_position[self.offset].permute(2, 0, 1).contiguous()
        size = groups.filled.shape[1]
        return groups.collected(attend(query, key, value, self.heads, bias.expand(-1, self.heads, size, size)))

    def drop(self, x: Tensor) -> Tensor:
        """Dropout of the residuals."""
        return dropout(x, self.dropout, self.training)


class GroupLayer(TypedDict):
    """What the two :class:`GroupAttentionLayer` of a block have in common besides its sizes."""

    size: int
    relative: bool


class MultiAxisBlock(NormFormerBlock):
    """ParT's particle block with block and grid attention between its attention and its head scale.

    Packed (n, D) to (n, D).
    """

    def __init__(
        self, width: int, heads: int, ffn_ratio: int, dropout: float, full: bool, parallel: bool, layer: GroupLayer
    ) -> None:
        super().__init__(width, heads, ffn_ratio, "weaver0.4", dropout)
        if not full:
            del self.attn
        self.full, self.parallel = full, parallel
        self.block = GroupAttentionLayer(width, heads, ffn_ratio, dropout=dropout, **layer)
        self.grid = GroupAttentionLayer(width, heads, ffn_ratio, dropout=dropout, **layer)

    def forward(self, x: Tensor, packing: Packing, bias: Tensor, block: Groups, grid: Groups) -> Tensor:
        """The block; bias (B, H, N, N) is that of the attention between all particles."""
        attended = self.axes(self.attention(self.pre_attn_norm(x), packing, bias), block, grid)
        x = x + self.drop(self.post_attn_norm(self.scale_heads(attended)))
        return self.feed_forward(x)

    def attention(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        """ParT's attention between all particles, if there is one."""
        if not self.full:
            return x
        query, key, value = packing.unpack(self.attn.query_key_value(x)).chunk(3, -1)
        attended = attend(query, key, value, self.heads, bias, self.attention_dropout)
        out: Tensor = self.attn.out_proj(packing.pack(attended))
        return out

    def axes(self, x: Tensor, block: Groups, grid: Groups) -> Tensor:
        """Block and grid attention."""
        if not self.parallel:
            out: Tensor = self.grid(self.block(x, block), grid)
            return out
        # Each layer returns its input with what it found added: of the two inputs in the sum one is taken out again.
        out = self.block(x, block) + self.grid(x, grid) - x
        return out


class ParMAT(Network):
    """Particle Multi-Axis Transformer, by default in the form of the authors' code: serial, 5,317,758 parameters.

    The published text could be read only in part; what is not in it follows the code (its commits of March 2024),
    with these deviations, most of them repairs:

    - Padded particles take no part: groups hold real particles only and their empty slots are masked. The code lets
      padding attend and be attended to, so its answers depend on it.
    - Any number of particles works. The code is cut to exactly 128 and fails as soon as jets are trimmed; with
      ``max_particles`` = 128 groups are the same as there: 16 block groups of 8 consecutive particles, grid groups of
      every 16th. Jets longer than ``max_particles`` get more groups.
    - Particles are grouped in the order of their pT, which the model finds itself (``sort``), so it is a function of
      the set. The code takes the order of the input, pT-sorted in evaluation and shuffled by ParT's trimming in
      training; its position bias makes it depend on that order.
    - Scores are scaled by head_dim**-0.5; the code has the full width there, a slip inherited from torchvision's
      MaxViT.
    - The class blocks have no multi-axis layers; the code builds them, 793,568 parameters that nothing uses.
    - Batch-normalisation statistics and trimming as in :class:`jetloom.models.part.ParT`.

    Args:
        n_features: F.
        n_classes: C.
        parallel: block and grid layer read the same input and their changes are added, as the abstract says; the code
            has them one after the other.
        full_attention: False: without the attention between all particles of ParT's block, so that the cost grows
            linearly with the number of particles.
        pair_bias: bias from pair features in the full attention (if there is one).
        relative_position: learned bias for the distance inside a group.
        group_size: P, particles per group.
        sort: order in which particles are grouped: by falling "pt", or as in the "input".
        max_particles: sets the number of grid groups, max_particles / P.
        embedding, pair_embedding, blocks, class_blocks, heads, ffn_ratio, dropout: as in ParT.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        parallel: bool = False,
        full_attention: bool = True,
        pair_bias: bool = True,
        relative_position: bool = True,
        group_size: int = 8,
        sort: Literal["pt", "input"] = "pt",
        max_particles: int = 128,
        embedding: tuple[int, ...] = (128, 512, 128),
        pair_embedding: tuple[int, ...] = (64, 64, 64),
        blocks: int = 8,
        class_blocks: int = 2,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.1,
    ) -> None:
        width = embedding[-1]
        super().__init__(jet_width=width, particle_width=width)
        self.readout = ClassAttention(width, class_blocks, heads, ffn_ratio, "weaver0.4")
        self.head = nn.Linear(width, n_classes)
        if group_size < 1 or max_particles < 1:
            raise JetloomError(f"group_size = {group_size} and max_particles = {max_particles} must be at least 1")
        self.ordered = sort == "input"
        self.sort, self.group_size = sort, group_size
        self.grid_groups = (max_particles + group_size - 1) // group_size
        self.embed = ParticleEmbedding(n_features, embedding)
        self.pair_embed = PairEmbedding(pair_embedding, heads) if full_attention and pair_bias else None
        layer: GroupLayer = {"size": group_size, "relative": relative_position}
        self.blocks = nn.ModuleList(
            MultiAxisBlock(width, heads, ffn_ratio, dropout, full_attention, parallel, layer) for _ in range(blocks)
        )

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the particle blocks, and the class token.

        Uses features, vectors (for pair features and the order) and mask.
        """
        packing, mask = Packing(batch.mask, batch.length, batch.room), batch.mask
        x = self.embed(packing.pack(batch.features), packing.real)
        if self.pair_embed is None:
            bias = key_bias(mask)
        else:
            bias = pair_bias(self.pair_embed, vectors_of(batch), mask, batch.length, batch.room)
        rank = rank_in_jet(batch, self.sort)
        block, grid = (group(rank, packing, self.group_size, groups) for groups in (None, self.grid_groups))
        for layer in self.blocks:
            x = layer(x, packing, bias, block, grid)
        particles = packing.unpack(x)
        return Encoded(particles, mask, self.readout(particles, mask))

    def looks(self, batch: Batch) -> Looks:
        """Weights of the class token."""
        return Looks(batch, "class token", self.readout.weights(self.encode(batch).kept, batch.mask))
