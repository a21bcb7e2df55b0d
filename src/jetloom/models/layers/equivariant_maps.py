"""Linear maps between numbers of pairs, of items and of the jet that commute with permutations of the items.

They are those of PELICAN (arXiv:2307.16506, section 3). x_ij of n items has the row means r_i = sum_j x_ij / n, the
column means c_j = sum_i x_ij / n, the diagonal d_i = x_ii, and the means t = sum_i d_i / n and m = sum_ij x_ij / n^2; D
is the identity. Pairs to pairs there are 15 maps:

1 x_ij, 2 x_ji, 3 D d, 4 d_j, 5 d_i, 6 D c, 7 c_j, 8 c_i, 9 D r, 10 r_j, 11 r_i, 12 t, 13 D t, 14 m, 15 D m.

Only the first two are different for each pair: the others are mixed before they are spread, so that no layer needs
more memory than its input and its output. Means are multiplied by (n / 49)^alpha, with an alpha of each channel and
map, which lets a layer choose anything between means and sums.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.models.layers.item_pairs import ItemPairs

TYPICAL = 49.0
"""Particles of a top-tagging jet, in the mean."""


def scale(alpha: Tensor, pairs: ItemPairs) -> Tensor:
    """(n / 49)^alpha, (C, K) to (B, C, K)."""
    ratio = pairs.number.to(alpha.dtype) / TYPICAL
    return ratio[..., None] ** alpha


def mix(values: Tensor, coefficients: Tensor) -> Tensor:
    """Maps (n, C, K) by coefficients (C, C', K) to (n, C')."""
    return torch.einsum("ncb,csb->ns", values, coefficients)


class PairsToPairs(nn.Module):
    """LeakyReLU(sum of the 15 maps + bias + D bias').

    Args:
        before, after: channels.
        factorised: coefficients C_dsb = a_db A_ds + e_sb B_ds of channels d, s and maps b instead of any C_dsb.
    """

    MAPS = 15
    MEANS = 10

    def __init__(self, before: int, after: int, factorised: bool) -> None:
        super().__init__()
        self.factorised = factorised
        if factorised:
            self.a, self.e = (nn.Parameter(torch.randn(n, self.MAPS) / math.sqrt(self.MAPS)) for n in (before, after))
            # A and B.
            self.first, self.second = (nn.Parameter(torch.randn(before, after) / math.sqrt(before)) for _ in range(2))
        else:
            self.free = nn.Parameter(torch.randn(before, after, self.MAPS) * math.sqrt(2 / (self.MAPS * before)))
        self.bias, self.diagonal_bias = nn.Parameter(torch.zeros(after)), nn.Parameter(torch.zeros(after))
        self.alpha = nn.Parameter(torch.rand(before, self.MEANS))

    def coefficients(self) -> Tensor:
        """C_dsb, (C, C', 15)."""
        if not self.factorised:
            return self.free
        return self.a[:, None] * self.first[..., None] + self.e * self.second[..., None]

    def forward(self, x: Tensor, pairs: ItemPairs) -> Tensor:
        """(e, C) to (e, C'), zeros where padded."""
        coefficients = self.coefficients()
        number = pairs.number.to(x.dtype)
        at_item = pairs.at_items(number)
        d, c, r = pairs.diagonal(x), pairs.column_sums(x) / at_item, pairs.row_sums(x) / at_item
        t, m = (pairs.at_items(pairs.jet_sums(mean) / number) for mean in (d, r))
        scales = pairs.at_items(scale(self.alpha, pairs).flatten(1)).view(-1, *self.alpha.shape)
        means = torch.stack([c, c, c, r, r, r, t, t, m, m], 2) * scales
        of_items = torch.cat([torch.stack([d, d, d], 2), means], 2)  # 3 to 15
        maps, weights = of_items.split([9, 4], 2), coefficients[..., 2:].split([9, 4], 2)
        # D d, d_j, d_i, and the same of c and of r; t and D t, m and D m.
        on_diagonal, at_column, at_row = (mix(maps[0][..., k::3], weights[0][..., k::3]) for k in range(3))
        everywhere, on_diagonal_too = (mix(maps[1][..., k::2], weights[1][..., k::2]) for k in range(2))
        y = x @ coefficients[..., 0] + pairs.transposed(x @ coefficients[..., 1])  # 1, 2
        y = y + pairs.at_row(at_row + everywhere + self.bias) + pairs.at_column(at_column)
        y = pairs.plus_diagonal(y, on_diagonal + on_diagonal_too + self.diagonal_bias)
        return pairs.without_padding(functional.leaky_relu(y))


class ItemsToPairs(nn.Module):
    """LeakyReLU(sum of the 5 maps D s, s_j, s_i, D mean and mean of s_i + bias).

    Args:
        before, after: channels.
    """

    MAPS = 5

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.randn(before, after, self.MAPS) * math.sqrt(2 / (self.MAPS * before)))
        self.bias = nn.Parameter(torch.zeros(after))
        self.alpha = nn.Parameter(torch.zeros(before, self.MAPS))

    def forward(self, s: Tensor, pairs: ItemPairs) -> Tensor:
        """(n, C) to (e, C'), zeros where padded."""
        mean = pairs.at_items(pairs.jet_sums(s) / pairs.number.to(s.dtype))
        scales = pairs.at_items(scale(self.alpha, pairs).flatten(1)).view(-1, *self.alpha.shape)
        maps = torch.stack([s, s, s, mean, mean], 2) * scales
        on_diagonal, at_column, at_row = (
            mix(maps[..., some], self.coefficients[..., some]) for some in (slice(0, 5, 3), slice(1, 2), slice(2, 5, 2))
        )
        y = pairs.plus_diagonal(pairs.at_row(at_row + self.bias) + pairs.at_column(at_column), on_diagonal)
        return pairs.without_padding(functional.leaky_relu(y))


class PairsToJet(nn.Module):
    """The 2 maps m and t, a LeakyReLU, then mixed.

    Args:
        before, after: channels.
    """

    MAPS = 2

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.randn(before, after, self.MAPS) * math.sqrt(4 / (self.MAPS * before)))
        self.bias = nn.Parameter(torch.zeros(after))
        self.alpha = nn.Parameter(torch.rand(before, self.MAPS))

    def forward(self, x: Tensor, pairs: ItemPairs) -> Tensor:
        """(e, C) to (B, C')."""
        number = pairs.number.to(x.dtype)
        m, t = pairs.jet_sums(pairs.row_sums(x)) / number.square(), pairs.jet_sums(pairs.diagonal(x)) / number
        maps = functional.leaky_relu(torch.stack([m, t], 2) * scale(self.alpha, pairs))
        return mix(maps, self.coefficients) + self.bias
