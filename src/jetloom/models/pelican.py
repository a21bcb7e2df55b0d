"""PELICAN (arXiv:2211.00454, arXiv:2307.16506), from the equations of its public code.

A network on all pairs of particles that sees Minkowski products only, and whose layers are permutation equivariant maps
of numbers of pairs (:mod:`jetloom.models.layers.equivariant_maps`, which has the notation). c_m, c and c_s are numbers
of channels:

1. d_ij = p_i p_j, where two reference vectors may be among the particles, and i = j too;
2. z = W d_ij + b; x_ij = sign(z) ((1 + |z|)^t - 1) / t with t = alpha^2 + 1e-6, channel by channel: from z (t = 1) to
   its logarithm (t = 0); c_s channels of the items' scalars join them, by maps items to pairs;
3. x_ij = Maps(BatchNorm(LeakyReLU(W x_ij + b))), c_m - c - c_m channels, for each block;
4. jet = Maps(BatchNorm(LeakyReLU(W x_ij + b))), pairs to jet; logits = LeakyReLU(W jet + b).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import full_precision
from jetloom.models.layers.equivariant_maps import ItemsToPairs, PairsToJet, PairsToPairs
from jetloom.models.layers.item_pairs import ItemPairs
from jetloom.models.layers.items import single_precision, with_references
from jetloom.models.layers.minkowski import pair_products
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import vectors_of
from jetloom.models.network import Encoded, Network

REFERENCES = ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0))
"""px, py, pz, E of the reference items: the laboratory and the axis of the beams."""
LEAST_POWER = 1e-6


class Encoder(nn.Module):
    """(2) without the scalars.

    Args:
        channels: how many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(1, channels)
        self.alpha = nn.Parameter(torch.linspace(0.05, 0.5, channels))
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, products: Tensor) -> Tensor:
        """(e, 1) to (e, C)."""
        z: Tensor = self.linear(products)
        power = self.alpha.square() + LEAST_POWER
        # expm1 and log1p: (1 + |z|)^t - 1 has no digits left for a small t.
        return z.sign() * torch.expm1(power * z.abs().log1p()) / power


class Message(nn.Module):
    """BatchNorm(LeakyReLU(W x + b)) of each pair, and dropout.

    Args:
        before, after: channels.
        dropout: probability.
    """

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(before, after), RealBatchNorm(after), nn.Dropout(dropout)

    def forward(self, x: Tensor, pairs: ItemPairs) -> Tensor:
        """(e, C) to (e, C'), zeros where padded."""
        x = functional.leaky_relu(self.linear(x))
        x = self.norm(x, pairs.counted(x))
        out: Tensor = self.drop(pairs.without_padding(x))
        return out


class Block(nn.Module):
    """(3): a message, and maps pairs to pairs.

    Args:
        width, inner: c_m and c.
        factorised, dropout: as of the maps and of the message.
    """

    def __init__(self, width: int, inner: int, factorised: bool, dropout: float) -> None:
        super().__init__()
        self.message, self.maps = Message(width, inner, dropout), PairsToPairs(inner, width, factorised)

    def forward(self, x: Tensor, pairs: ItemPairs) -> Tensor:
        """(e, c_m) to (e, c_m), zeros where padded."""
        out: Tensor = self.maps(self.message(x, pairs), pairs)
        return out


class LeakyLinear(nn.Linear):
    """LeakyReLU(W x + b)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, C)."""
        return functional.leaky_relu(super().forward(x))


class Pelican(Network):
    """PELICAN: 208,797 parameters with two classes.

    Everything is computed in float32, also under autocast: products of four-vectors cancel.

    Args:
        n_features, n_classes: F and C.
        width: c_m.
        inner: c.
        of_scalars: c_s, out of c_m.
        blocks: of (3).
        readout: channels of the jet in (4); None: c_m.
        factorised: whether the coefficients of (3) are products: see :class:`PairsToPairs`.
        references: with (1, 0, 0, 0) and (0, 0, 0, 1) among the particles, and scalars that say which item is a
            particle, the first and the second of them (the author code's ``stabilizer: so2``, ``method: spurions``);
            without them (``so13``) the logits are as invariant as the scalars.
        scalars: of the items: features, zero of the reference vectors; none.
        logits: leaky: as published; linear: without the last LeakyReLU, which makes negative logits small.
        dropout: in front of all maps but those of the scalars, and of the logits.
    """

    single = True

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        width: int = 132,
        inner: int = 78,
        of_scalars: int = 10,
        blocks: int = 5,
        readout: int | None = None,
        factorised: bool = True,
        references: bool = True,
        scalars: Literal["none", "features"] = "none",
        logits: Literal["leaky", "linear"] = "leaky",
        dropout: float = 0.025,
    ) -> None:
        readout = width if readout is None else readout
        super().__init__(jet_width=readout, particle_width=None)
        self.references, self.use_features = REFERENCES if references else (), scalars == "features"
        given = n_features * self.use_features + (1 + len(REFERENCES)) * references
        of_products = width - of_scalars if given else width
        if min(of_products, of_scalars, inner, blocks, readout) < 1:
            raise JetloomError(
                f"width = {width}, of_scalars = {of_scalars}, inner = {inner}, blocks = {blocks}, readout = {readout}: "
                "expected positive numbers, of_scalars below width"
            )
        self.encoder = Encoder(of_products)
        self.embed = ItemsToPairs(given, of_scalars) if given else None
        self.blocks = nn.ModuleList(Block(width, inner, factorised, dropout) for _ in range(blocks))
        self.last_message, self.to_jet = Message(width, inner, dropout), PairsToJet(inner, readout)
        last = LeakyLinear if logits == "leaky" else nn.Linear
        self.head = nn.Sequential(nn.Dropout(dropout), last(readout, n_classes))

    def encode(self, batch: Batch) -> Encoded:
        """(1) to (4), the jet. Uses vectors and mask, and features where they are the scalars."""
        vectors, mask = with_references(single_precision(vectors_of(batch)), batch.mask, self.references)
        with full_precision(vectors):
            pairs = ItemPairs(mask, batch.longer(len(self.references)))
            x = self.encoder(pair_products(vectors, pairs))  # (1), (2)
            if self.embed is not None:
                scalars = pairs.items.pack(self.inputs(batch, vectors))
                x = torch.cat([x, self.embed(scalars, pairs)], 1)
            for block in self.blocks:
                x = block(x, pairs)  # (3)
            jet = self.to_jet(self.last_message(x, pairs), pairs)  # (4)
        return Encoded(None, batch.mask, jet)

    def inputs(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Scalars (B, M, S) of items with four-vectors (B, M, 4): what they are, one-hot, and features."""
        front, parts = len(self.references), []
        if front:
            kinds = torch.eye(front + 1, dtype=vectors.dtype, device=vectors.device)
            marks = torch.cat([kinds[1:], kinds[:1].expand(batch.mask.shape[1], -1)])
            parts.append(marks.expand(vectors.shape[0], -1, -1))
        if self.use_features:
            features = batch.features.masked_fill(~batch.mask[..., None], 0.0).to(vectors.dtype)
            parts.append(functional.pad(features, (0, 0, front, 0)))
        return torch.cat(parts, -1)
