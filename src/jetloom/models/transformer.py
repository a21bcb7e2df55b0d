"""A plain Transformer encoder for particles: the control of the attention variants.

Pre-LN layers (arXiv:2002.04745) on the particle embedding of ParT (arXiv:2202.03772), no positional encoding, no pair
features. Every variant is an option here and a row of the registry in :mod:`jetloom.models.variants`, so that
exactly one thing differs from the control.
"""

from typing import Literal

from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.attention import key_bias
from jetloom.models.encoder import Embedding, FeedForward, SelfAttention
from jetloom.models.layers import Packing
from jetloom.models.part import ClassAttentionModel


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
        return self.after(self.attention(x, packing, bias))


class MeanReadout(nn.Module):
    """Mean over real particles, LayerNorm, one linear layer."""

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, n_classes)

    def classify(self, particles: Tensor, mask: Tensor) -> Tensor:
        """Particles (B, N, D) and mask (B, N) to logits (B, C)."""
        total = particles.masked_fill(~mask[..., None], 0.0).sum(1)
        return self.fc(self.norm(total / mask.sum(1, keepdim=True).clamp(min=1)))


class Transformer(nn.Module):
    """Pre-LN Transformer encoder.

    Args:
        n_features, n_classes: F and C.
        embedding: widths of the particle embedding; the last is the width D of the model.
        first_norm: LayerNorm on the inputs of each particle, as in ParT; without it for point clouds, where it would
            leave one number of three.
        blocks, heads: layers and H.
        ffn_ratio: hidden width of the feed-forward network over D.
        dropout: on attention weights, hidden values and residuals.
        readout: mean of the particles, or ParT's class-attention blocks.
        class_blocks: number of the latter.
        normformer: ParT's extra scales and normalisations; with readout: class this is ParT without pair features.
        macaron: two half feed-forward steps around the attention; halve ffn_ratio to keep the size.
    """

    ordered = False

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
        readout: Literal["mean", "class"] = "mean",
        class_blocks: int = 2,
        normformer: bool = False,
        macaron: bool = False,
    ) -> None:
        super().__init__()
        if not embedding:
            raise JetloomError("embedding: expected at least one width")
        width = embedding[-1]
        self.embed = Embedding(n_features, tuple(embedding), first_norm)
        self.layers = nn.ModuleList(
            Layer(
                SelfAttention(width, heads, dropout, normformer),
                width,
                ffn_ratio * width,
                dropout,
                normformer=normformer,
                macaron=macaron,
            )
            for _ in range(blocks)
        )
        if readout == "mean":
            self.readout = MeanReadout(width, n_classes)
        else:
            self.readout = ClassAttentionModel(width, n_classes, class_blocks, heads, ffn_ratio, "weaver0.5")

    def forward(self, batch: Batch) -> Tensor:
        """Batch to logits (B, C). Uses features and mask."""
        packing = Packing(batch.mask)
        x = self.embed(packing.pack(batch.features), packing.real)
        bias = key_bias(batch.mask)
        for layer in self.layers:
            x = layer(x, packing, bias)
        return self.readout.classify(packing.unpack(x), batch.mask)
