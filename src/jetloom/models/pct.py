"""Point Cloud Transformer for jets (arXiv:2102.05073): PCT and Simple PCT.

Offset attention as in the author code (PCT_HEP, models/pct.py). Where this departs from it: averages and the
statistics of batch normalisation are over real particles only (there padding counts as well), and neighbours are
sought among real particles.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.models.layers.attention import CLOSED
from jetloom.models.layers.neighbours import smallest, squared_distances
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import Packing
from jetloom.models.layers.readout import mean_of_real
from jetloom.models.network import Encoded, Network


class PointLayer(nn.Module):
    """Linear - BatchNorm - ReLU on packed rows (n, D); normalisation and activation can be left out."""

    def __init__(
        self, before: int, after: int, *, bias: bool = True, norm: bool = True, activation: bool = True
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after, bias=bias)
        self.norm = RealBatchNorm(after, eps=1e-3) if norm else None
        self.activation = activation

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x, real)
        return functional.relu(x) if self.activation else x


class OffsetAttention(nn.Module):
    """x + ReLU(BatchNorm(Linear(x - o))) with o = A v, one head.

    q, k (width D / 4) and v (D) are batch-normalised linear maps without bias or activation. The energies q k^T, not
    divided by sqrt(d), pass a softmax over the keys; then each key's column is divided by its sum over the queries
    (+ 1e-9), and o_j = sum_i v_i A_ij: the double normalisation of the Point Cloud Transformer (arXiv:2012.09688).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = PointLayer(width, width // 4, bias=False, activation=False)
        self.key = PointLayer(width, width // 4, bias=False, activation=False)
        self.value = PointLayer(width, width, bias=False, activation=False)
        self.out = PointLayer(width, width, bias=False)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed (n, D) to (n, D)."""
        query, key, value = (packing.unpack(layer(x, packing.real)) for layer in (self.query, self.key, self.value))
        real = packing.mask[:, None, :]
        energy = torch.bmm(query, key.transpose(1, 2)).float().masked_fill(~real, CLOSED)
        weights = energy.softmax(2) * (real & packing.mask[:, :, None])
        weights = weights / (1e-9 + weights.sum(1, keepdim=True))
        value = value.masked_fill(~packing.mask[..., None], 0.0)
        attended = torch.bmm(weights.transpose(1, 2).to(value.dtype), value)
        x = x + self.out(x - packing.pack(attended), packing.real)
        return x


class EdgeConvolution(nn.Module):
    """Mean over k nearest neighbours j of two pointwise layers on [x_i, x_j - x_i].

    A jet of R particles has fewer neighbours where R is smaller; of equal distances those in front are taken.

    Args:
        before, after: D and D'.
        neighbours: k.
        knn: published: the k smallest of |x|^2 - 2 x y + |y|^2 in float32, among them nearly always the particle itself
            (distance 0), as in the author code; exact: the k nearest others, by differences; a lone particle is its own
            neighbour.
    """

    def __init__(self, before: int, after: int, neighbours: int, knn: Literal["published", "exact"] = "exact") -> None:
        super().__init__()
        self.neighbours, self.knn = neighbours, knn
        self.first = PointLayer(2 * before, after)
        self.second = PointLayer(after, after)

    def forward(self, x: Tensor, places: Tensor, packing: Packing) -> Tensor:
        """Features (n, D) packed, places (B, N, S) in which neighbours are sought, to (n, D')."""
        index, counted = self.nearest(places.detach().float(), packing.mask)
        length = packing.length
        if length is not None:
            length = length * np.minimum(self.found(torch.from_numpy(length)).numpy(), index.shape[2])
        spread = packing.unpack(x)
        rows = index.flatten(1)[..., None].expand(-1, -1, spread.shape[-1])
        others = spread.gather(1, rows).unflatten(1, index.shape[1:])
        own = spread[:, :, None].expand_as(others)
        edges = Packing(counted.flatten(1), length)
        rows = edges.pack(torch.cat([own, others - own], -1).flatten(1, 2))
        rows = self.second(self.first(rows, edges.real), edges.real)
        sums = (
            edges.unpack(rows).masked_fill(~counted.flatten(1)[..., None], 0.0).unflatten(1, counted.shape[1:]).sum(2)
        )
        return packing.pack(sums / counted.sum(2, keepdim=True).clamp(min=1))

    @torch.no_grad()
    def nearest(self, places: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slots (B, N, k) of the neighbours, and which of them there are, from (B, N, S) and (B, N).

        They are there in rising distance, as many as :meth:`found` says.
        """
        places = places.masked_fill(~mask[..., None], 0.0)
        number = mask.shape[1]
        if self.knn == "published":
            distance = squared_distances(places, mask)
        else:
            distance = (places[:, :, None] - places[:, None]).square().sum(-1).masked_fill(~mask[:, None], torch.inf)
            # The particle itself comes last: a neighbour only where there is no other.
            itself = torch.eye(number, dtype=torch.bool, device=mask.device)
            alone = (mask.sum(1) <= 1)[:, None, None]
            distance = distance.masked_fill(itself & ~alone, torch.inf)
        _, index = smallest(distance, min(self.neighbours, number), None)
        there = self.found(mask.sum(1))[:, None, None]
        return index, (torch.arange(index.shape[2], device=mask.device) < there) & mask[..., None]

    def found(self, length: Tensor) -> Tensor:
        """(B,) neighbours that each particle of a jet could have, of so many particles (B,)."""
        return length if self.knn == "published" else (length - 1).clamp(min=1)


def make_head(width: int, hidden: int, n_classes: int, dropout: float) -> nn.Sequential:
    """Linear - BatchNorm - ReLU, dropout, one linear layer. (B, K) to logits (B, C)."""
    return nn.Sequential(PointLayer(width, hidden), nn.Dropout(dropout), nn.Linear(hidden, n_classes))


class PCT(Network):
    """Point Cloud Transformer: two edge convolutions, three offset attentions; 171,202 parameters (F = 7, C = 2).

    Args:
        n_features, n_classes: F and C.
        edge_widths: D' of the two edge convolutions; the second is the width D of the attentions.
        neighbours: k.
        attentions: offset attentions.
        width: of the layer on all of them concatenated.
        hidden: of the head.
        dropout: before the last layer.
        knn: rule for the neighbours, as in :class:`EdgeConvolution`.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        edge_widths: tuple[int, ...] = (128, 64),
        neighbours: int = 20,
        attentions: int = 3,
        width: int = 256,
        hidden: int = 128,
        dropout: float = 0.5,
        knn: Literal["published", "exact"] = "published",
    ) -> None:
        super().__init__(jet_width=width, particle_width=width)
        inner = edge_widths[-1]
        self.edges = nn.ModuleList(
            EdgeConvolution(before, after, neighbours, knn)
            for before, after in zip((n_features, *edge_widths), edge_widths, strict=False)
        )
        self.attentions = nn.ModuleList(OffsetAttention(inner) for _ in range(attentions))
        self.join = PointLayer((attentions + 1) * inner, width)
        self.head = make_head(width, hidden, n_classes, dropout)

    def encode(self, batch: Batch) -> Encoded:
        """All attentions of each particle, joined, and the mean. Uses features, coordinates and mask."""
        packing = Packing(batch.mask, batch.length, batch.room)
        x = packing.pack(batch.features)
        places = batch.coordinates
        for edge in self.edges:
            x = edge(x, places, packing)
            places = packing.unpack(x)
        found = [x]
        for attention in self.attentions:
            x = attention(x, packing)
            found.append(x)
        # The author code concatenates the attentions first; only the order of the weights differs.
        particles = packing.unpack(self.join(torch.cat(found, -1), packing.real))
        return Encoded(particles, batch.mask, mean_of_real(particles, batch.mask))


class SimplePCT(Network):
    """Simple PCT: pointwise layers in the place of edge convolutions. 55,810 parameters (7 inputs, 2 classes).

    Args:
        n_features, n_classes: F and C.
        widths: of the two pointwise layers; the second is the width D of the attentions.
        attentions: offset attentions.
        width: of the layer on all of them concatenated, which has no normalisation.
        hidden: of the head.
        dropout: before the last layer.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        widths: tuple[int, ...] = (128, 64),
        attentions: int = 2,
        width: int = 128,
        hidden: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(jet_width=width, particle_width=width)
        inner = widths[-1]
        self.layers = nn.ModuleList(
            PointLayer(before, after) for before, after in zip((n_features, *widths), widths, strict=False)
        )
        self.attentions = nn.ModuleList(OffsetAttention(inner) for _ in range(attentions))
        self.join = PointLayer(attentions * inner, width, norm=False)
        self.head = make_head(width, hidden, n_classes, dropout)

    def encode(self, batch: Batch) -> Encoded:
        """All attentions of each particle, joined, and the mean. Uses features and mask."""
        packing = Packing(batch.mask, batch.length, batch.room)
        x = packing.pack(batch.features)
        for layer in self.layers:
            x = layer(x, packing.real)
        found = []
        for attention in self.attentions:
            x = attention(x, packing)
            found.append(x)
        particles = packing.unpack(self.join(torch.cat(found, -1)))
        return Encoded(particles, batch.mask, mean_of_real(particles, batch.mask))
