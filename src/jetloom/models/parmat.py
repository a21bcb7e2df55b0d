"""ParMAT, the Particle Multi-Axis Transformer (arXiv:2406.06638).

ParT with two more attentions in each particle block, each over small groups of particles: *block* attention over
neighbours in the order of transverse momentum, *grid* attention over particles spread evenly over that order.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.kinematics import listed_pair_features, pt
from jetloom.models.attention import CLOSED, attend, key_bias
from jetloom.models.layers import Packing, keep_dense
from jetloom.models.network import Encoded, Looks, Network
from jetloom.models.part import (
    Block,
    ClassAttention,
    PairEmbedding,
    ParticleEmbedding,
    pair_bias,
    scale_heads,
    vectors_of,
)


class Groups(NamedTuple):
    """W groups of P slots, filled with packed particles; the same for all layers of a model."""

    members: Tensor
    """(W, P) packed row in each slot; 0 where the slot is empty."""
    filled: Tensor
    """(W, P) bool."""
    place: Tensor
    """(n,) slot of each packed row, counted through all groups."""


def rank_in_jet(batch: Batch, sort: Literal["pt", "input"]) -> Tensor:
    """(B, N) position of each particle among the real ones of its jet; padded slots get anything."""
    if sort == "input":
        return batch.mask.long().cumsum(1) - 1
    key = pt(vectors_of(batch)).masked_fill(~batch.mask, -1.0)
    if torch.compiler.is_exporting():  # ONNX has no stable sort, but its top-k keeps equal elements in order
        order = key.topk(key.shape[1], dim=1).indices
    else:
        order = key.argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(order).scatter(1, order, torch.arange(key.shape[1], device=key.device).expand_as(order))


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
        groups = torch.sym_max(groups, fewest_grid_groups)
    jet = torch.arange(jets, device=mask.device)[:, None]
    place = (jet * groups + index) * size + slot
    # Padding, which has no rank of its own, is sent to one place behind all groups.
    total = jets * groups * size
    place = packing.pack(place.masked_fill(~mask, total)[..., None])[:, 0]
    if packing.real is not None:
        place = place.masked_fill(~packing.real, total)
    row = torch.arange(place.shape[0], device=mask.device)
    members = row.new_zeros(total + 1).scatter(0, place, row)[:-1].view(-1, size)
    filled = torch.zeros_like(place, dtype=torch.bool).new_zeros(total + 1)
    filled = filled.scatter(0, place, torch.ones_like(place, dtype=torch.bool))[:-1].view(-1, size)
    if keep_dense():
        return Groups(members, filled, place.clamp(max=total - 1))
    used = filled.any(1)
    new_index = used.long().cumsum(0) - 1
    place = new_index[place // size] * size + place % size
    return Groups(members[used], filled[used], place)


class GroupAttentionLayer(nn.Module):
    """Attention inside groups, then a feed-forward layer, each pre-normalised with a residual. (n, D) to (n, D)."""

    def __init__(
        self, width: int, heads: int, ffn_ratio: int, size: int, dropout: float, relative: bool, scale: float
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.scale = heads, dropout, scale
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.relative_position = (
            nn.Parameter(nn.init.trunc_normal_(torch.empty(2 * size - 1, heads), std=0.02)) if relative else None
        )
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, ffn_ratio * width), nn.GELU(), nn.Linear(ffn_ratio * width, width), nn.Dropout(dropout)
        )
        slot = torch.arange(size)
        self.register_buffer("offset", slot[:, None] - slot[None, :] + size - 1, persistent=False)

    def forward(self, x: Tensor, groups: Groups, pairs: Tensor | None) -> Tensor:
        """Layer; ``pairs`` (W, H, P, P) is the bias from pair features, if it is used."""
        query, key, value = self.query_key_value(self.attention_norm(x))[groups.members].chunk(3, -1)
        bias = torch.zeros_like(groups.filled, dtype=x.dtype).masked_fill(~groups.filled, CLOSED)[:, None, None, :]
        if pairs is not None:
            bias = bias + pairs
        if self.relative_position is not None:
            bias = bias + self.relative_position[self.offset].permute(2, 0, 1)
        size = groups.members.shape[1]
        bias = bias.expand(-1, self.heads, size, size)
        attended = attend(query * self.scale, key, value, self.heads, bias).flatten(0, 1)[groups.place]
        x = x + functional.dropout(self.out_proj(attended), self.dropout, self.training)
        return x + self.ffn(self.ffn_norm(x))


class MultiAxisBlock(Block):
    """ParT's particle block with block and grid attention between its attention and its head scale."""

    def __init__(
        self, width: int, heads: int, ffn_ratio: int, dropout: float, full: bool, parallel: bool, layer: dict
    ) -> None:
        super().__init__(width, heads, ffn_ratio, "weaver0.4", dropout)
        if not full:
            del self.attn
        self.full, self.parallel = full, parallel
        self.block = GroupAttentionLayer(width, heads, ffn_ratio, dropout=dropout, **layer)
        self.grid = GroupAttentionLayer(width, heads, ffn_ratio, dropout=dropout, **layer)

    def forward(
        self,
        x: Tensor,
        packing: Packing,
        bias: Tensor,
        block: tuple[Groups, Tensor | None],
        grid: tuple[Groups, Tensor | None],
    ) -> Tensor:
        """Packed (n, D) to (n, D)."""
        attended = self.pre_attn_norm(x)
        if self.full:
            query_key_value = packing.unpack(self.attn.query_key_value(attended))
            mixed = attend(*query_key_value.chunk(3, -1), self.heads, bias, self.attention_dropout)
            attended = self.attn.out_proj(packing.pack(mixed))
        if self.parallel:
            attended = self.block(attended, *block) + self.grid(attended, *grid) - attended
        else:
            attended = self.grid(self.block(attended, *block), *grid)
        return self.finish(x, scale_heads(attended, self.c_attn, self.order))


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
    - Scores are scaled by head_dim**-0.5 (``group_scale``); the code has the full width there, a slip inherited from
      torchvision's MaxViT.
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
        group_pair_bias: bias from pair features inside groups too, as the abstract suggests; the code has none.
        relative_position: learned bias for the distance inside a group.
        group_scale: "head": head_dim**-0.5, "width": width**-0.5 as in the code.
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
        group_pair_bias: bool = False,
        relative_position: bool = True,
        group_scale: Literal["head", "width"] = "head",
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
        self.sort, self.group_size, self.group_pair_bias = sort, group_size, group_pair_bias
        self.grid_groups = (max_particles + group_size - 1) // group_size
        self.full_pair_bias = full_attention and pair_bias
        self.embed = ParticleEmbedding(n_features, embedding)
        self.pair_embed = PairEmbedding(pair_embedding, heads) if self.full_pair_bias or group_pair_bias else None
        layer = {
            "size": group_size,
            "relative": relative_position,
            # The attention itself divides by the root of the head's width.
            "scale": 1.0 if group_scale == "head" else heads**-0.5,
        }
        self.blocks = nn.ModuleList(
            MultiAxisBlock(width, heads, ffn_ratio, dropout, full_attention, parallel, layer) for _ in range(blocks)
        )

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the particle blocks, and the class token.

        Uses features, vectors (for pair features and the order) and mask.
        """
        packing = Packing(batch.mask)
        x = self.embed(packing.pack(batch.features), packing.real)
        rank = rank_in_jet(batch, self.sort)
        axes = [group(rank, packing, self.group_size, groups) for groups in (None, self.grid_groups)]
        bias, biases = self.biases(batch, packing, axes)
        block, grid = zip(axes, biases, strict=True)
        for layer in self.blocks:
            x = layer(x, packing, bias, block, grid)
        particles = packing.unpack(x)
        return Encoded(particles, batch.mask, self.readout(particles, batch.mask))

    def looks(self, batch: Batch) -> Looks | None:
        """Weights of the class token."""
        return self.readout.looks(batch, self.encode(batch).particles)

    def biases(
        self, batch: Batch, packing: Packing, axes: list[Groups]
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
        """Bias of the full attention, and those inside block and grid groups (None: without)."""
        bias = key_bias(batch.mask)
        if self.pair_embed is None:
            return bias, (None, None)
        if self.full_pair_bias:
            bias = pair_bias(self.pair_embed, vectors_of(batch), batch.mask)
        if not self.group_pair_bias:
            return bias, (None, None)
        pairs = [axis.members[:, :, None].expand(-1, -1, self.group_size) for axis in axes]
        if self.full_pair_bias:
            rows = torch.arange(batch.mask.numel(), device=batch.mask.device) if packing.rows is None else packing.rows
            jet, slot = rows // batch.mask.shape[1], rows % batch.mask.shape[1]
            return bias, tuple(
                bias.permute(0, 2, 3, 1)[jet[index], slot[index], slot[index].transpose(1, 2)].permute(0, 3, 1, 2)
                for index in pairs
            )
        vectors = packing.pack(vectors_of(batch))
        features = [listed_pair_features(vectors, index, index.transpose(1, 2)) for index in pairs]
        lower = torch.ones(self.group_size, self.group_size, dtype=torch.bool, device=batch.mask.device).tril()
        counted = [axis.filled[:, :, None] & axis.filled[:, None, :] & lower for axis in axes]
        # One call for both axes, so that one training step updates the running statistics once.
        embedded = self.pair_embed(
            torch.cat([item.flatten(0, 2) for item in features]), torch.cat([item.flatten() for item in counted])
        )
        parts = embedded.split([axis.members.numel() * self.group_size for axis in axes])
        return bias, tuple(
            part.view(-1, self.group_size, self.group_size, part.shape[-1]).permute(0, 3, 1, 2) for part in parts
        )
