"""Perceiver (arXiv:2103.03206) for jets: a few learned latents look at the particles and then at each other.

The cost is linear in the number of particles. No Fourier features: the inputs hold the particles' places.
"""

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.layers.attention import Projections, attend, key_bias
from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.embedding import ParticleEmbedding
from jetloom.models.layers.feedforward import FeedForward
from jetloom.models.layers.layer_norm import LayerNorm
from jetloom.models.layers.packing import Packing
from jetloom.models.network import Encoded, Network


class LatentAttention(nn.Module):
    """latents + Attention(LayerNorm latents; LayerNorm context), then a feed-forward network, pre-LN.

    Args:
        width, heads, hidden, dropout: D, H, hidden width of the feed-forward network, dropout.
        cross: the context is the particles, with a normalisation of its own; else it is the latents.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = LayerNorm(width)
        self.context_norm = LayerNorm(width) if cross else None
        self.attn = Projections(width)
        self.feed_forward = FeedForward(width, hidden, dropout, normformer=False)

    def forward(self, latents: Tensor, particles: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Latents (B, M, D), particles (B, N, D) and their key bias (B, 1, 1, N) to latents."""
        normed = self.norm(latents)
        query = self.attn.query(normed)
        context = normed if self.context_norm is None else self.context_norm(particles)
        key, value = self.attn.key_value(context).chunk(2, -1)
        attended = attend(query, key, value, self.heads, bias, self.dropout if self.training else 0.0)
        latents = latents + dropout(self.attn.out_proj(attended), self.dropout, self.training)
        out: Tensor = self.feed_forward(latents)
        return out


class Perceiver(Network):
    """Perceiver: ``repeats`` times one cross-attention to the particles and some self-attentions of the latents.

    Args:
        n_features, n_classes: F and C.
        embedding: widths of the particle embedding; the last is the width D of particles and latents.
        first_norm: LayerNorm on the inputs of each particle, as in ParT; without it for point clouds.
        latents: M.
        repeats: cross-attentions, each with its own weights.
        self_layers: self-attentions of the latents after each.
        heads, ffn_ratio, dropout: as in :class:`jetloom.models.transformer.Transformer`.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        embedding: tuple[int, ...] = (128, 512, 128),
        first_norm: bool = True,
        latents: int = 32,
        repeats: int = 1,
        self_layers: int = 6,
        heads: int = 8,
        ffn_ratio: int = 4,
        dropout: float = 0.1,
    ) -> None:
        if not embedding or heads < 1 or embedding[-1] % heads:
            raise JetloomError(f"heads = {heads} does not divide the width, the last entry of embedding {embedding}")
        width = embedding[-1]
        super().__init__(jet_width=width, particle_width=width)
        self.embed = ParticleEmbedding(n_features, tuple(embedding), first_norm)
        # Latents that are all alike would stay so: they start apart.
        self.latents = nn.Parameter(nn.init.trunc_normal_(torch.empty(latents, width), std=0.02))
        self.layers = nn.ModuleList(
            LatentAttention(width, heads, ffn_ratio * width, dropout, cross=index == 0)
            for _ in range(repeats)
            for index in range(self_layers + 1)
        )
        self.head = nn.Sequential(LayerNorm(width), nn.Linear(width, n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """Embedded particles, and the mean of the latents that looked at them. Uses features and mask."""
        packing = Packing(batch.mask, batch.length, batch.room)
        particles = packing.unpack(self.embed(packing.pack(batch.features), packing.real))
        bias = key_bias(batch.mask)
        latents = self.latents.expand(batch.mask.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(latents) if layer.context_norm is None else layer(latents, particles, bias)
        return Encoded(particles, batch.mask, latents.mean(1))
