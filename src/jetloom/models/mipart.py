"""MIParT, the More-Interaction Particle Transformer (arXiv:2407.08682).

ParT with a second use of its pairs: before the particle attention blocks stand blocks whose attention weights are made
of pair features alone, once for all of these blocks, in 64 heads. Where the text of the paper leaves a point open, the
author code decides. Parameters carry the names of weaver-core, so that checkpoints of the authors load.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import joined, split
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.embedding import ParticleEmbedding
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.normformer import ChannelOrder, NormFormer
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.pairs import PairEmbedding, convolved, pair_bias
from jetloom.models.layers.readout import ClassAttention
from jetloom.models.network import Encoded, Looks, Network
from jetloom.models.part import WEAVER_NAMES, ParticleBlock


class InteractionEmbedding(nn.Module):
    """Pair features (n, 4) to U1, the scores of the interaction blocks, and U2, made of U1, the bias of the others.

    Args:
        widths: hidden ones, the last of which is the number of heads of U1.
        heads: of U2.
        pre_activation: without the GELU behind U1 and behind U2.
    """

    def __init__(self, widths: tuple[int, ...], heads: int, pre_activation: bool) -> None:
        super().__init__()
        self.pre_activation = pre_activation
        self.embed1 = PairEmbedding(widths[:-1], widths[-1], pre_activation)
        self.convolution, self.norm = nn.Conv1d(widths[-1], heads, 1), RealBatchNorm(heads)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """U1 and U2 side by side; ``real`` (n,) tells which pairs count in the statistics, None: all."""
        first = self.embed1(x, real)
        second = convolved(first, self.convolution, self.norm, real, gelu=not self.pre_activation)
        return torch.cat([first, second.to(first.dtype)], -1)


class InteractionBlock(NormFormer):
    """More-interaction attention block: MIA(V) = A V with A = softmax(U1), without queries, keys and projection.

    Packed (n, D) to (n, D).

    Args:
        width, heads, ffn_ratio, order, dropout: as of the particle blocks.
    """

    attn: nn.Linear

    def __init__(self, width: int, heads: int, ffn_ratio: int, order: ChannelOrder, dropout: float) -> None:
        super().__init__(nn.Linear(width, width, bias=False), width, heads, ffn_ratio, order, dropout)

    def forward(self, x: Tensor, packing: Packing, weights: Tensor) -> Tensor:
        """The block; weights (B, H, N, N) is A."""
        value = split(packing.unpack(self.attn(self.pre_attn_norm(x))), self.heads)
        attended = joined(dropout(weights.to(value.dtype), self.attention_dropout, self.training) @ value)
        x = x + self.drop(self.post_attn_norm(self.scale_heads(packing.pack(attended))))
        return self.feed_forward(x)


class MIParT(Network):
    """More-Interaction Particle Transformer: 657,014 parameters with 7 features and 2 classes, MIParT-L 2,292,470.

    5 interaction blocks, 5 particle blocks with a bias from pair features, 2 class blocks. Where this departs from the
    author code: as in :class:`jetloom.models.part.ParT`, statistics of batch normalisation come from real particles
    and pairs only, and jets are not trimmed to random lengths.

    Args:
        n_features, n_classes: F and C.
        channel_order: layout after the head scale; as of ParT.
        pre_activation: without the GELU behind both pair embeddings: not in the authors' configuration, but in the
            comparison of arXiv:2505.20280, which left it at the default of the code.
        embedding: widths of the particle embedding; the last is the width D of the model: 64, or 128 in MIParT-L.
        pair_embedding: hidden widths of the pair embedding; the last is the number of heads of interaction blocks.
        interaction_blocks, blocks, class_blocks: how many of each.
        heads: H, of the other blocks.
        ffn_ratio: hidden width of the feed-forward layers over D.
        dropout: on attention weights, activations and residuals of interaction and particle blocks.
    """

    published_names: ClassVar[dict[str, str]] = WEAVER_NAMES | {
        r"^blocks\.": "interaction_blocks.",
        r"^blocks2\.": "particle_blocks.",
        r"\.attn\.vv\.": ".attn.",
        r"^pair_embed\.embed1\.": "pair_embed.embed1.embed.",
        r"^pair_embed\.embed2\.0\.": "pair_embed.convolution.",
        r"^pair_embed\.embed2\.1\.": "pair_embed.norm.",
    }

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        channel_order: ChannelOrder = "weaver0.4",
        pre_activation: bool = False,
        embedding: tuple[int, ...] = (128, 512, 64),
        pair_embedding: tuple[int, ...] = (64, 64, 64),
        interaction_blocks: int = 5,
        blocks: int = 5,
        class_blocks: int = 2,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.1,
    ) -> None:
        width, many = embedding[-1], pair_embedding[-1]
        if width % many:
            raise JetloomError(
                f"{many} heads of interaction blocks, the last entry of pair_embedding, do not divide the width "
                f"{width}, the last entry of embedding"
            )
        super().__init__(jet_width=width, particle_width=width)
        self.readout = ClassAttention(width, class_blocks, heads, ffn_ratio, channel_order)
        self.head = nn.Linear(width, n_classes)
        self.embed = ParticleEmbedding(n_features, embedding)
        self.pair_embed = InteractionEmbedding(pair_embedding, heads, pre_activation)
        self.interaction_blocks = nn.ModuleList(
            InteractionBlock(width, many, ffn_ratio, channel_order, dropout) for _ in range(interaction_blocks)
        )
        self.particle_blocks = nn.ModuleList(
            ParticleBlock(width, heads, ffn_ratio, channel_order, dropout) for _ in range(blocks)
        )
        self.heads = [many, heads]

    def encode(self, batch: Batch) -> Encoded:
        """Particles after the particle blocks, and the class token. Uses features, vectors and mask."""
        packing, mask = Packing(batch.mask, batch.length, batch.room), batch.mask
        x = self.embed(packing.pack(batch.features), packing.real)
        biases = pair_bias(self.pair_embed, vectors_of(batch), mask, batch.length, batch.room)
        scores, bias = biases.split(self.heads, 1)
        weights = scores.softmax(-1)
        for block in self.interaction_blocks:
            x = block(x, packing, weights)
        for block in self.particle_blocks:
            x = block(x, packing, bias)
        particles = packing.unpack(x)
        return Encoded(particles, mask, self.readout(particles, mask))

    def looks(self, batch: Batch) -> Looks:
        """Weights of the class token."""
        return Looks(batch, "class token", self.readout.weights(self.encode(batch).kept, batch.mask))
