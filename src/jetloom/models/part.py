"""ParT, the Particle Transformer (arXiv:2202.03772), version 1: the one behind the published numbers.

What stands here is what the author code of 2022 (weaver-core 0.4) computes; the text of the paper leaves several of
these points open. Parameters carry the names of that code, so its checkpoints load.
"""

from typing import ClassVar

from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.embedding import ParticleEmbedding
from jetloom.models.layers.normformer import ChannelOrder, NormFormerBlock
from jetloom.models.layers.packed_attention import Bias, bias_of_pairs, packed_attend
from jetloom.models.layers.packing import Packing, vectors_of
from jetloom.models.layers.pairs import PairEmbedding
from jetloom.models.layers.readout import ClassAttention
from jetloom.models.network import Encoded, Looks, Network

WEAVER_NAMES = {
    r"^cls_": "readout.cls_",
    r"^norm\.": "readout.norm.",
    r"^fc\.0\.": "head.",
    r"\.in_proj\.": ".in_proj_",
}
"""Names of weaver-core 0.4 (all but the last) and 0.5."""


class ParticleBlock(NormFormerBlock):
    """Particle attention block (figure 3b, eq. 2): P-MHA(Q, K, V) = softmax(Q K^T / sqrt(d_k) + U) V.

    Packed (n, D) to (n, D).
    """

    def forward(self, x: Tensor, packing: Packing, bias: Bias) -> Tensor:
        """The block; the bias is U."""
        return self.feed_forward(self.behind_attention(self.attention(x, packing, bias), x))

    def attention(self, x: Tensor, packing: Packing, bias: Bias) -> Tensor:
        """What the heads find, side by side."""
        return packed_attend(self.normed_query_key_value(x), packing, self.heads, bias, self.attention_dropout)


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
        packing, mask = Packing(batch.mask, batch.length, batch.room), batch.mask
        x = self.embed(packing.pack(batch.features), packing.real)
        bias: Bias = key_bias(mask)
        if self.pair_embed is not None:
            bias = bias_of_pairs(self.pair_embed, vectors_of(batch), packing)
        for block in self.blocks:
            x = block(x, packing, bias)
        particles = packing.unpack(x)
        return Encoded(particles, mask, self.readout(particles, mask))

    def looks(self, batch: Batch) -> Looks:
        """Weights of the class token."""
        return Looks(batch, "class token", self.readout.weights(self.encode(batch).kept, batch.mask))
