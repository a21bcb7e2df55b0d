"""JEDI-linear (arXiv:2508.15468) in floating point, from the equations of its public code.

An interaction network whose messages are linear in the sender: their sum over all senders is the map of one sum over
the particles, the same for all receivers, so that the cost is O(N). With D_w(x) = ReLU(BatchNorm(W x + b)) of width w:

1. h_i = D(x_i);
2. g = D(2^-round(log2 N) sum_j h_j), where j runs over all particles, i too;
3. h_i = D(D(h_i) + g);
4. logits = BatchNorm(W D(D(D(sum_i h_i / 16))) + b).
"""

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import folding
from jetloom.models.layers.init import keras_linear_
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import Packing, of_length, unpacked
from jetloom.models.network import Encoded, Network

SUMMED = 16
"""(4): the sum over the particles is divided by it, whatever their number."""


class Dense(nn.Module):
    """D_w.

    Args:
        before, width: channels of the input, and w.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(before, width), RealBatchNorm(width)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """(n, D) to (n, w); ``real`` (n,): rows that count in the statistics, None: all."""
        if folding.serves(self.norm):
            folded = folding.batch_norm(self.norm, self.linear.weight, self.linear.bias)
            return functional.relu(functional.linear(x, *folded))
        return functional.relu(self.norm(self.linear(x), real))


class JediLinear(Network):
    """JEDI-linear: 20,335 trainable parameters with 3 features and 5 classes.

    The author code trains it with quantised weights, for an FPGA; its two forms, with and without a place in the order
    of the particles, differ in these only. PHAT-JeT's authors compare with another form, of one batch normalisation.

    Args:
        n_features, n_classes: F and C.
        max_particles: N of (2), and the length that ``mask: published`` pads to.
        width: w of the particles.
        hidden: widths of the layers between the sum and the logits.
        mask: real: sums and statistics leave padding out. published: it takes part in them as zero rows, always up to
            ``max_particles``.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        max_particles: int = 64,
        width: int = 64,
        hidden: tuple[int, ...] = (64, 32, 16),
        mask: Literal["real", "published"] = "real",
    ) -> None:
        super().__init__(jet_width=width, particle_width=width)
        if min(max_particles, width, *hidden, 1) < 1:
            raise JetloomError(f"max_particles = {max_particles}, width and hidden must be positive")
        self.max_particles, self.scale = max_particles, 2.0 ** -round(math.log2(max_particles))
        self.masked = mask == "real"
        self.reads_padding = not self.masked
        self.embed, self.own = Dense(n_features, width), Dense(width, width)
        self.common, self.after = Dense(width, width), Dense(width, width)
        widths = (width, *hidden)
        self.head = nn.Sequential(
            *(Dense(before, after) for before, after in pairwise(widths)),
            nn.Sequential(nn.Linear(widths[-1], n_classes), RealBatchNorm(n_classes)),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                keras_linear_(module)

    def encode(self, batch: Batch) -> Encoded:
        """(1) to (3), and the sum over the particles. Uses features and mask.

        Raises:
            JetloomError: a jet is longer than ``max_particles``.
        """
        batch = of_length(batch, self.max_particles, type(self).__name__, exactly=not self.masked)
        padded = ~batch.mask[..., None]
        packing = Packing(batch.mask, batch.length, batch.room) if self.masked else unpacked(batch.mask)
        features = batch.features if self.masked else batch.features.masked_fill(padded, 0.0)
        h = self.embed(packing.pack(features), packing.real)  # (1)
        common = self.common(packing.unpack(h).sum(1) * self.scale)  # (2)
        to_all = packing.pack(common[:, None].expand(-1, batch.mask.shape[1], -1))
        particles = packing.unpack(self.after(self.own(h, packing.real) + to_all, packing.real))  # (3)
        jet = particles.sum(1) / SUMMED
        return Encoded(particles if self.masked else particles.masked_fill(padded, 0.0), batch.mask, jet)
