"""What stands behind an encoder while it learns from masked particles."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.feedforward import FeedForward
from jetloom.models.layers.packing import Packing
from jetloom.models.layers.self_attention import SelfAttention
from jetloom.models.network import Encoded

HEADS = 4


class TokenHead(nn.Module):
    """Pre-LN layers on what the encoder knows of particles, jet and rank in pT, and the logits of the codes.

    As in masked particle modelling (arXiv:2401.13537) the order of the particles enters here only. The jet is read
    too, so that an encoder's read-out learns with the rest.

    Args:
        particle_width, jet_width: D and K of the encoder.
        n_features: F, length of the learnt inputs of a masked particle.
        codes: number of codes.
        max_particles: ranks that there are.
        width: of the layers.
        blocks: how many.
    """

    centres: Tensor
    """(codes, 3)."""
    frequency: Tensor
    """(codes,) of the training split, each code counted once more than it occurs."""

    def __init__(
        self,
        particle_width: int,
        jet_width: int,
        n_features: int,
        codes: int,
        max_particles: int,
        width: int,
        blocks: int,
    ) -> None:
        super().__init__()
        self.stand_in = nn.Parameter(torch.zeros(n_features))
        self.of_particle, self.of_jet = nn.Linear(particle_width, width), nn.Linear(jet_width, width, bias=False)
        self.rank = nn.Parameter(0.02 * torch.randn(max_particles, width))
        self.attention = nn.ModuleList(SelfAttention(width, HEADS, 0.0, False) for _ in range(blocks))
        self.feed_forward = nn.ModuleList(FeedForward(width, 2 * width, 0.0, False) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.code = nn.Linear(width, codes)
        self.register_buffer("centres", torch.zeros(codes, 3))
        self.register_buffer("frequency", torch.full((codes,), 1 / codes))

    def forward(self, jet: Tensor) -> Tensor:
        """(B, K) as it is: what the network says of a jet without this head."""
        return jet

    def logits(self, encoded: Encoded, chosen: Packing, length: NDArray[np.int64] | None = None) -> Tensor:
        """(n, codes) of chosen particles, which stand in the slots of their batch, hardest first.

        Args:
            encoded: all particles.
            chosen: of (B, N).
            length: (B,) particles of each jet, where the host knows it.
        """
        packing, bias = Packing(encoded.mask, length), key_bias(encoded.mask)
        known = self.of_particle(encoded.kept) + self.of_jet(encoded.jet)[:, None]
        x = packing.pack(known + self.rank[: chosen.mask.shape[1]])
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            x = feed_forward(attention(x, packing, bias))
        logits: Tensor = self.code(self.norm(chosen.pack(packing.unpack(x))))
        return logits
