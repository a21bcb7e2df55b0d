"""PELICAN nano (arXiv:2310.16121), a top tagger of eleven parameters, from the equations of its public code.

Permutation equivariant maps of the Minkowski products of all particles, with one matrix of coefficients, and nothing
else. With D the identity and 49 the mean number of particles of top tagging:

1. d_ij = p_i p_j, the beams among the particles;
2. c_j = sum_i d_ij / 49, m = sum_j c_j / 49;
3. y_ij = LeakyReLU(C_1 d_ij + D C_2 c_j + C_3 c_j + C_4 c_i + C_5 m + D C_6 m + b + D b'), H channels;
4. s = W LeakyReLU([sum_ij y_ij / 49^2, sum_i y_ii / 49]) + w; the logits are (-s, s).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import full_precision
from jetloom.models.layers.equivariant_maps import TYPICAL
from jetloom.models.layers.item_pairs import ItemPairs
from jetloom.models.layers.items import single_precision, with_references
from jetloom.models.layers.minkowski import pair_products
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.layers.packing import vectors_of
from jetloom.models.network import Encoded, Network

BEAMS = ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, -1.0, 1.0))
"""px, py, pz, E."""
MAPS = 6


class Score(nn.Linear):
    """(-s, s), s = W x + w.

    Args:
        width: of x.
        dropout: of whole scores, as published.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, 2)."""
        score = self.drop(super().forward(x))
        return torch.cat([-score, score], 1)


class PelicanNano(Network):
    """PELICAN nano: 10 H + 1 parameters for two classes.

    Everything is computed in float32, also under autocast: products of four-vectors cancel.

    Args:
        n_features, n_classes: F, of which nothing is read, and C: two as published; otherwise (4) is a linear map of
            the same two numbers of each channel to C logits.
        hidden: H.
        beams: with the beams (1, 0, 0, +-1) among the particles; without them the logits are invariant under all
            Lorentz transformations.
        norm: batch normalisation of d_ij and of y_ij over real pairs: 2 + 2 H parameters more.
        dropout: of d_ij, of y_ij and of s.
    """

    single = True

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        hidden: int = 1,
        beams: bool = True,
        norm: bool = False,
        dropout: float = 0.05,
    ) -> None:
        super().__init__(jet_width=2 * hidden, particle_width=None)
        if hidden < 1:
            raise JetloomError(f"hidden = {hidden}: expected at least 1")
        self.references = BEAMS if beams else ()
        self.coefficients = nn.Parameter(torch.randn(1, hidden, MAPS) * math.sqrt(2 / MAPS))
        self.bias, self.diagonal_bias = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(hidden))
        self.norm_in = RealBatchNorm(1) if norm else None
        self.norm_out = RealBatchNorm(hidden) if norm else None
        self.drop = nn.Dropout(dropout)
        self.head = Score(2 * hidden, dropout) if n_classes == 2 else nn.Linear(2 * hidden, n_classes)
        nn.init.normal_(self.head.weight, std=math.sqrt(2 / hidden))
        nn.init.zeros_(self.head.bias)

    def encode(self, batch: Batch) -> Encoded:
        """What (4) reads, (B, 2 H), without W. Uses vectors and mask."""
        vectors, mask = with_references(single_precision(vectors_of(batch)), batch.mask, self.references)
        with full_precision(vectors):
            pairs = ItemPairs(mask, batch.longer(len(self.references)))
            x = pair_products(vectors, pairs)  # (1)
            x = self.drop(x if self.norm_in is None else self.norm_in(x, pairs.counted(x)))
            y = functional.leaky_relu(self.mixed(pairs.without_padding(x), pairs))
            y = self.drop(y if self.norm_out is None else self.norm_out(y, pairs.counted(y)))
            y = pairs.without_padding(y)
            everywhere = pairs.jet_sums(pairs.row_sums(y)) / TYPICAL**2
            on_diagonal = pairs.jet_sums(pairs.diagonal(y)) / TYPICAL
            jet = functional.leaky_relu(torch.stack([everywhere, on_diagonal], 2).flatten(1))  # (4)
        return Encoded(None, batch.mask, jet)

    def mixed(self, x: Tensor, pairs: ItemPairs) -> Tensor:
        """(2), and (3) before the activation: (e, 1) to (e, H)."""
        own, *of_items = self.coefficients.unbind(2)
        column = pairs.column_sums(x) / TYPICAL
        mean = pairs.at_items(pairs.jet_sums(column) / TYPICAL)
        c_on_diagonal, c_at_column, c_at_row, m_everywhere, m_on_diagonal = of_items
        at_row = column @ c_at_row + mean @ m_everywhere + self.bias
        on_diagonal = column @ c_on_diagonal + mean @ m_on_diagonal + self.diagonal_bias
        y = x @ own + pairs.at_row(at_row) + pairs.at_column(column @ c_at_column)
        return pairs.plus_diagonal(y, on_diagonal)
