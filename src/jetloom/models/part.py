"""ParT, the Particle Transformer (arXiv:2202.03772), version 1: the one behind the published numbers.

What stands here is what the author code of 2022 (weaver-core 0.4) computes; the text of the paper leaves several of
these points open. Parameters carry the names of that code, so its checkpoints load.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.kinematics import listed_pair_features
from jetloom.models.attention import Projections, attend, key_bias
from jetloom.models.dropout import dropout
from jetloom.models.layers import Packing, RealBatchNorm, keep_dense
from jetloom.models.linear_norm_gelu import linear_norm_gelu
from jetloom.models.network import Encoded, Looks, Network
from jetloom.models.recomputed import gelu_dropout_norm

ChannelOrder = Literal["weaver0.4", "weaver0.5"]

WEAVER_NAMES = {
    r"^cls_": "readout.cls_",
    r"^norm\.": "readout.norm.",
    r"^fc\.0\.": "head.",
    r"\.in_proj\.": ".in_proj_",
}
"""Names of weaver-core 0.4 (all but the last) and 0.5."""


class ParticleEmbedding(nn.Module):
    """Batch normalisation, then LayerNorm - Linear - GELU for each width. Packed (n, F) to (n, D)."""

    def __init__(self, n_features: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.input_bn = RealBatchNorm(n_features)
        layers: list[nn.Module] = []
        for before, after in zip((n_features, *widths), widths, strict=False):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        return self.embed(self.input_bn(x, real))


class PairEmbedding(nn.Module):
    """Pair features (n, 4) to one attention bias per head (n, H), for each pair on its own.

    Batch normalisation, then Conv1d - BatchNorm - GELU for each width; the GELU after the last one is kept
    (``use_pre_activation_pair`` is False in every published network).
    """

    def __init__(self, widths: tuple[int, ...], heads: int) -> None:
        super().__init__()
        widths = (*widths, heads)
        layers: list[nn.Module] = [RealBatchNorm(4)]
        for before, after in zip((4, *widths), widths, strict=False):
            layers += [nn.Conv1d(before, after, 1), RealBatchNorm(after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Embed pairs; ``real`` (n,) tells which count in the statistics, None: all."""
        x = self.embed[0](x, real)
        for convolution, norm in zip(self.embed[1::3], self.embed[2::3], strict=True):
            weight = convolution.weight[:, :, 0]
            if self.training:
                x = linear_norm_gelu(x, weight, convolution.bias, norm, real)
            else:
                # Outside training the normalisation is part of the linear map: two passes over all pairs less.
                x = functional.gelu(functional.linear(x, *norm.folded(weight, convolution.bias)))
        return x


def pair_bias(embedding: PairEmbedding, vectors: Tensor, mask: Tensor) -> Tensor:
    """Attention bias (B, H, N, N) from the four-vectors, with padded keys closed.

    Each unordered pair of real particles is computed once. A recorded graph computes all pairs of slots.

    Args:
        embedding: of the pair features.
        vectors: (B, N, 4).
        mask: (B, N).
    """
    batch, number = mask.shape
    vectors = vectors.masked_fill(~mask[..., None], 0.0).flatten(0, 1)
    closed = key_bias(mask).expand(batch, 1, number, number)
    lower = torch.ones(number, number, dtype=torch.bool, device=mask.device).tril()
    if keep_dense():
        slot = torch.arange(batch * number, device=mask.device).view(batch, number)
        first, second = slot[:, :, None].expand(-1, -1, number), slot[:, None, :].expand(-1, number, -1)
        features = listed_pair_features(vectors, first, second)
        counted = mask[:, :, None] & mask[:, None, :] & lower
        bias = embedding(features.flatten(0, 2), counted.flatten())
        return bias.view(batch, number, number, -1).permute(0, 3, 1, 2) + closed
    cells = (mask[:, :, None] & mask[:, None, :] & lower).flatten().nonzero()[:, 0]
    first = torch.div(cells, number, rounding_mode="floor")
    jet_start = torch.div(first, number, rounding_mode="floor") * number
    second = jet_start + cells % number
    bias = embedding(listed_pair_features(vectors, first, second), None).t()
    mirrored = second * number + first - jet_start
    heads = len(bias)
    everywhere = closed.to(bias.dtype).flatten().expand(heads, -1).clone()
    everywhere.index_copy_(1, cells, bias).index_copy_(1, mirrored, bias)
    return everywhere.view(heads, batch, number, number).transpose(0, 1)


def scale_heads(x: Tensor, scale: Tensor, order: ChannelOrder) -> Tensor:
    """NormFormer's head scale: channels of head h times ``scale[h]``, on the last axis (D,), scale (H,).

    The code of the published models leaves the channels in the order (head_dim, head): new channel d H + h is old
    channel h D/H + d. weaver-core 0.5 leaves them as they are; checkpoints of the two are not exchangeable.
    """
    scaled = x.unflatten(-1, (len(scale), -1)) * scale[:, None]
    return (scaled.transpose(-1, -2) if order == "weaver0.4" else scaled).flatten(-2)


class Block(nn.Module):
    """What particle and class attention blocks share: parameters, head scale and the feed-forward half."""

    def __init__(self, width: int, heads: int, ffn_ratio: int, order: ChannelOrder, dropout: float) -> None:
        super().__init__()
        self.heads, self.order, self.dropout = heads, order, dropout
        self.pre_attn_norm = nn.LayerNorm(width)
        self.attn = Projections(width)
        self.post_attn_norm = nn.LayerNorm(width)
        self.pre_fc_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn_ratio * width)
        self.post_fc_norm = nn.LayerNorm(ffn_ratio * width)
        self.fc2 = nn.Linear(ffn_ratio * width, width)
        self.c_attn = nn.Parameter(torch.ones(heads))
        self.w_resid = nn.Parameter(torch.ones(width))

    def drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)

    @property
    def attention_dropout(self) -> float:
        return self.dropout if self.training else 0.0

    def project_out(self, x: Tensor) -> Tensor:
        """Output projection and head scale in one: the scale acts after the projection, so it scales its rows."""
        weight = scale_heads(self.attn.out_proj.weight.t(), self.c_attn, self.order).t()
        return functional.linear(x, weight, scale_heads(self.attn.out_proj.bias, self.c_attn, self.order))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """From the scaled output of the attention to the output of the block; ``x`` is its input."""
        x = x + self.drop(self.post_attn_norm(attended))
        hidden = self.fc1(self.pre_fc_norm(x))
        hidden = gelu_dropout_norm(hidden, self.post_fc_norm, self.dropout, self.training)
        return self.drop(self.fc2(hidden)) + self.w_resid * x


class ParticleBlock(Block):
    """Particle attention block. Packed (n, D) to (n, D)."""

    def forward(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        query_key_value = packing.unpack(self.attn.query_key_value(self.pre_attn_norm(x)))
        attended = attend(*query_key_value.chunk(3, -1), self.heads, bias, self.attention_dropout)
        return self.finish(x, self.project_out(packing.pack(attended)))


class ClassBlock(Block):
    """Class attention block: the class token looks at itself and the particles. It never drops anything out.

    Published code gives the query the raw class token, without the normalisation that keys and values get.
    """

    def forward(self, token: Tensor, particles: Tensor, bias: Tensor) -> Tensor:
        """Token (B, 1, D), particles (B, N, D), bias (B, 1, 1, 1 + N) to the new token (B, 1, D)."""
        keys = self.pre_attn_norm(torch.cat([token, particles.to(token.dtype)], 1))
        key, value = self.attn.key_value(keys).chunk(2, -1)
        attended = attend(self.attn.query(token), key, value, self.heads, bias, self.attention_dropout)
        return self.finish(token, self.project_out(attended))

    def weights(self, token: Tensor, particles: Tensor, bias: Tensor) -> Tensor:
        """Softmax weights (B, H, 1, 1 + N) of the token on itself and the particles; arguments as of the block."""
        keys = self.pre_attn_norm(torch.cat([token, particles.to(token.dtype)], 1))
        key, _ = self.attn.key_value(keys).chunk(2, -1)
        query, key = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.attn.query(token), key))
        return (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + bias).softmax(-1)


class ClassAttention(nn.Module):
    """The read-out: a class token passes the class attention blocks, then LayerNorm."""

    def __init__(self, width: int, blocks: int, heads: int, ffn_ratio: int, order: ChannelOrder) -> None:
        super().__init__()
        if width % heads:
            raise JetloomError(f"heads = {heads} does not divide the width {width}, the last entry of embedding")
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.cls_blocks = nn.ModuleList(ClassBlock(width, heads, ffn_ratio, order, 0.0) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, particles: Tensor, mask: Tensor) -> Tensor:
        """Particles (B, N, D) and mask (B, N) to what stands in the token, (B, D)."""
        token = self.cls_token.repeat(particles.shape[0], 1, 1)
        bias = functional.pad(key_bias(mask), (1, 0))
        for block in self.cls_blocks:
            token = block(token, particles, bias)
        return self.norm(token[:, 0])

    def looks(self, batch: Batch, particles: Tensor) -> Looks | None:
        """Weights of the particles in the last block, mean over heads; the token gives itself what is missing to 1."""
        if not self.cls_blocks:
            return None
        token = self.cls_token.repeat(particles.shape[0], 1, 1)
        bias = functional.pad(key_bias(batch.mask), (1, 0))
        for block in self.cls_blocks[:-1]:
            token = block(token, particles, bias)
        weight = self.cls_blocks[-1].weights(token, particles, bias).mean(1)[:, 0, 1:]
        return Looks(batch, "class token", weight, None, None, None)


def vectors_of(batch: Batch) -> Tensor:
    """The four-vectors of a batch.

    Raises:
        JetloomError: there are none (point clouds).
    """
    if batch.vectors is None:
        raise JetloomError("pair features need four-vectors, and this data set has none; set pair_bias: false")
    return batch.vectors


class ParT(Network):
    """Particle Transformer: 8 particle attention blocks with a bias from pair features, 2 class attention blocks.

    Where this departs from the author code, which takes in padded slots (in training they hold particles of other
    jets, so its statistics are nearly those of real particles): statistics of batch normalisation, for particles and
    for pairs, come from real particles and from each unordered pair of them once; and jets are not trimmed to random
    lengths here, the loader's buckets save that work. Evaluation with given weights is the same to rounding.

    Args:
        n_features: F.
        n_classes: C.
        pair_bias: False: the plain Transformer of the paper's comparison.
        channel_order: layout after the head scale. "weaver0.4": that of the published models; "weaver0.5": that of
            weaver-core 0.5 and later, which silently misreads older checkpoints.
        embedding: widths of the particle embedding; the last is the width D of the model.
        pair_embedding: hidden widths of the pair embedding.
        blocks: particle attention blocks.
        class_blocks: class attention blocks.
        heads: H.
        ffn_ratio: hidden width of the feed-forward layers over D.
        dropout: on attention weights, activations and residuals of the particle blocks.
    """

    published_names: ClassVar[dict[str, str]] = WEAVER_NAMES

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        pair_bias: bool = True,
        channel_order: ChannelOrder = "weaver0.4",
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
        self.readout = ClassAttention(width, class_blocks, heads, ffn_ratio, channel_order)
        self.head = nn.Linear(width, n_classes)
        self.embed = ParticleEmbedding(n_features, embedding)
        self.pair_embed = PairEmbedding(pair_embedding, heads) if pair_bias else None
        self.blocks = nn.ModuleList(
            ParticleBlock(width, heads, ffn_ratio, channel_order, dropout) for _ in range(blocks)
        )

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the particle blocks, and the class token. Uses features, vectors (with pair bias), mask."""
        packing = Packing(batch.mask)
        x = self.embed(packing.pack(batch.features), packing.real)
        if self.pair_embed is None:
            bias = key_bias(batch.mask)
        else:
            bias = pair_bias(self.pair_embed, vectors_of(batch), batch.mask)
        for block in self.blocks:
            x = block(x, packing, bias)
        particles = packing.unpack(x)
        return Encoded(particles, batch.mask, self.readout(particles, batch.mask))

    def looks(self, batch: Batch) -> Looks | None:
        """Weights of the class token."""
        return self.readout.looks(batch, self.encode(batch).particles)
