"""A plain Transformer encoder for particles: the control of the attention variants.

Pre-LN layers (arXiv:2002.04745) on the particle embedding of ParT (arXiv:2202.03772), no positional encoding, no pair
features. Every variant is an option here and a row of the registry, ``catalogue/models/*.yaml``, which says in one line
what differs from the control.
"""

from typing import Literal

from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.embedding import ParticleEmbedding
from jetloom.models.layers.feedforward import FeedForward
from jetloom.models.layers.order import largest_first, real_first, sort_key, take
from jetloom.models.layers.packing import Packing, zero_padding
from jetloom.models.layers.readout import ClassAttention, MeanReadout
from jetloom.models.layers.self_attention import HashedAttention, SelfAttention
from jetloom.models.layers.sparse_attention import nearest, pattern_bias, strided
from jetloom.models.network import Encoded, Looks, Network


class Layer(nn.Module):
    """Attention, then feed-forward; with ``macaron`` (arXiv:1906.02762) half a feed-forward step before and after."""

    def __init__(
        self, attention: SelfAttention, width: int, hidden: int, dropout: float, *, normformer: bool, macaron: bool
    ):
        super().__init__()
        step = 0.5 if macaron else 1.0
        self.before = FeedForward(width, hidden, dropout, normformer, step) if macaron else None
        self.attention = attention
        self.after = FeedForward(width, hidden, dropout, normformer, step)

    def forward(self, x: Tensor, packing: Packing, bias: Tensor) -> Tensor:
        if self.before is not None:
            x = self.before(x)
        out: Tensor = self.after(self.attention(x, packing, bias))
        return out


class Transformer(Network):
    """Pre-LN Transformer encoder; by default ParT without pair features: 2,133,918 parameters.

    Args:
        n_features, n_classes: F and C.
        embedding: widths of the particle embedding; the last is the width D of the model.
        first_norm: LayerNorm on the inputs of each particle, as in ParT; without it for point clouds, where it would
            leave one number of three.
        blocks, heads: layers and H.
        ffn_ratio: hidden width of the feed-forward network over D.
        dropout: on attention weights, hidden values and residuals.
        readout: mean of the particles, or ParT's class-attention blocks.
        class_blocks, class_ffn_ratio: number of the latter and hidden width of their feed-forward networks over D.
        normformer: ParT's extra scales and normalisations; without them the textbook's pre-LN layer.
        macaron: two half feed-forward steps around the attention; halve ffn_ratio to keep the size. Where the layer
            also has a learned scale of the residual, both are kept.
        attention: full; shared_qk: full, queries being keys; strided or nearest: sparse patterns
            (:mod:`jetloom.models.layers.sparse_attention`); lsh: within hash buckets
            (:mod:`jetloom.models.layers.lsh_attention`).
        stride: l of the strided pattern.
        neighbours: k of the nearest-neighbour pattern.
        bucket_size: particles per chunk of lsh; there are max_particles / bucket_size buckets (an even number).
        hashes: rounds of lsh.
        max_particles: longest input; only sets the number of buckets.
        sort: order of the particles for strided and lsh, which need one; auto: pt for jets, morton for points.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        embedding: tuple[int, ...] = (128, 512, 128),
        first_norm: bool = True,
        blocks: int = 8,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.1,
        readout: Literal["mean", "class"] = "class",
        class_blocks: int = 2,
        class_ffn_ratio: int = 4,
        normformer: bool = True,
        macaron: bool = False,
        attention: Literal["full", "shared_qk", "strided", "nearest", "lsh"] = "full",
        stride: int = 12,
        neighbours: int = 16,
        bucket_size: int = 8,
        hashes: int = 4,
        max_particles: int = 128,
        sort: Literal["auto", "pt", "kt", "delta_R", "morton", "none"] = "auto",
    ) -> None:
        if not embedding:
            raise JetloomError("embedding: expected at least one width")
        width = embedding[-1]
        super().__init__(jet_width=width, particle_width=width)
        if min(stride, neighbours, bucket_size, hashes) < 1:
            raise JetloomError("stride, neighbours, bucket_size and hashes must be at least 1")
        if attention == "lsh" and 2 * bucket_size > max_particles:
            raise JetloomError(
                f"bucket_size = {bucket_size} leaves a single bucket for max_particles = {max_particles}: that is full "
                f"attention; choose at most {max_particles // 2}, or attention: shared_qk"
            )
        self.attention, self.stride, self.neighbours = attention, stride, neighbours
        self.sort = sort if attention in ("strided", "lsh") else "none"
        self.ordered = attention in ("strided", "lsh") and sort == "none"
        buckets = max_particles // bucket_size // 2 * 2

        def self_attention() -> SelfAttention:
            if attention == "lsh":
                return HashedAttention(width, heads, dropout, normformer, hashes, buckets, bucket_size)
            return SelfAttention(width, heads, dropout, normformer, shared=attention == "shared_qk")

        self.embed = ParticleEmbedding(n_features, tuple(embedding), first_norm)
        self.layers = nn.ModuleList(
            Layer(
                self_attention(),
                width,
                ffn_ratio * width,
                dropout,
                normformer=normformer,
                macaron=macaron,
            )
            for _ in range(blocks)
        )
        self.readout: MeanReadout | ClassAttention
        if readout == "mean":
            self.readout = MeanReadout(width)
        else:
            self.readout = ClassAttention(width, class_blocks, heads, class_ffn_ratio, "weaver0.5")
        self.head = nn.Linear(width, n_classes)

    def encode(self, batch: Batch) -> Encoded:
        """Particles after all layers, and what the read-out makes of them.

        Uses features and mask; some variants sort by vectors or coordinates.
        """
        order = None
        if self.sort != "none":
            batch, order = self.sorted(zero_padding(batch))
        packing = Packing(batch.mask, batch.length, batch.room)
        x = self.embed(packing.pack(batch.features), packing.real)
        bias = self.bias(batch)
        for layer in self.layers:
            x = layer(x, packing, bias)
        particles = packing.unpack(x)
        return Encoded(particles, batch.mask, self.readout(particles, batch.mask), order)

    def looks(self, batch: Batch) -> Looks | None:
        """Weights of the class token, if there is one."""
        if not isinstance(self.readout, ClassAttention):
            return None
        encoded = self.encode(batch).in_place(batch.mask.shape[1])
        return Looks(batch, "class token", self.readout.weights(encoded.kept, encoded.mask))

    def sorted(self, batch: Batch) -> tuple[Batch, Tensor]:
        """Features and mask in the order of ``sort``, padding last, and their slots (B, N) before."""
        sort = ("morton" if batch.vectors is None else "pt") if self.sort == "auto" else self.sort
        order = largest_first(real_first(sort_key(batch, sort), batch.mask))
        return batch._replace(features=take(batch.features, order), mask=batch.mask.gather(1, order)), order

    def bias(self, batch: Batch) -> Tensor:
        """Bias of the attention scores: which keys are open."""
        if self.attention == "strided":
            return pattern_bias(strided(batch.mask, self.stride), batch.mask)
        if self.attention == "nearest":
            return pattern_bias(nearest(batch.coordinates, batch.mask, self.neighbours), batch.mask)
        return key_bias(batch.mask)
