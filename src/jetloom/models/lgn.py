"""LGN, the Lorentz group network (arXiv:2006.04780), from its equations; no line of the authors' code was read.

Each item carries complex tensors x^(k,n) of irreducible representations of the Lorentz group
(:mod:`jetloom.models.layers.lorentz_irreps`), C channels of each. They are multiplied by Clebsch-Gordan products,
channel by channel, and mixed by complex matrices, both of which commute with Lorentz transformations:

1. r_k(p) = a_k + b_k / (1 + c_k^2 |p^2|), k = 1..20, and f_l = W_l r + w_l, complex, l = 0, 1;
2. E_ij = (1 + i) f_0 in (0, 0), and f_1 V(p_i - p_j) in (1, 1), where V is the four-vector;
3. x_i <- W [sum_j x_j * E_ij, x_i, x_i * x_i], a matrix for each irrep;
4. the scalars pass a network of their own;
5. logits: a linear map of sum_i [x^(0,0), I(x^(k,n))] of the input and of all levels, I being the invariant square.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models.fast import full_precision
from jetloom.models.layers.item_pairs import ItemPairs
from jetloom.models.layers.items import single_precision, with_references
from jetloom.models.layers.lorentz_irreps import (
    SCALAR,
    VECTOR,
    Irrep,
    Products,
    mixed,
    outcomes,
    size,
    times_i,
)
from jetloom.models.layers.minkowski import product
from jetloom.models.layers.packing import vectors_of
from jetloom.models.network import Encoded, Network

BEAMS = ((0.0, 0.0, 1.0, 2.0**0.5), (0.0, 0.0, -1.0, 2.0**0.5))
"""px, py, pz, E, of mass 1."""
ORDER: tuple[Irrep, ...] = ((1, 1), (2, 0), (0, 2), (2, 2), (0, 0))
"""Of the irreps behind a level."""
OF_OUTPUT: tuple[Irrep, ...] = ((0, 0), (1, 1), (2, 0), (0, 2), (2, 2))
RADIAL = 20
MLP_LAYERS = 3
MLP_RATIO = 4

Tensors = dict[Irrep, Tensor]
"""(n, C, d) of each irrep."""


class Radial(nn.Module):
    """(1) of the pairs.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(RADIAL)) for _ in range(3))
        self.of_scalars, self.of_vectors = (nn.Linear(RADIAL, 2 * channels) for _ in range(2))

    def forward(self, squares: Tensor, different: Tensor) -> Tensor:
        """(p_i - p_j)^2 (e, 1) and whether i is not j (e, 1) to f_0 and f_1 (e, 4 C), each (channel, re/im)."""
        r = self.a + self.b / (1 + self.c.square() * squares.abs())
        r = r.masked_fill(~different, 0.0)
        return torch.cat([self.of_scalars(r), self.of_vectors(r)], 1)


class Level(nn.Module):
    """(1) to (4).

    Args:
        irreps: of the input, in order.
        before, after: channels of the input and of the output.
        mlp: with (4).
    """

    def __init__(self, irreps: tuple[Irrep, ...], before: int, after: int, mlp: bool) -> None:
        super().__init__()
        self.radial = Radial(before)
        blocks = outcomes_of_level(irreps)
        self.irreps = tuple(irrep for irrep in ORDER if blocks[irrep])
        self.mixing = nn.ParameterDict(
            {name(irrep): mixing_weight(irrep, blocks[irrep] * before, after) for irrep in sorted(self.irreps)}
        )
        widths = [2 * after, *[MLP_RATIO * after] * MLP_LAYERS]
        layers = [layer for one, two in pairwise(widths) for layer in (nn.Linear(one, two), nn.LeakyReLU(0.01))]
        self.mlp = nn.Sequential(*layers, nn.Linear(widths[-1], 2 * after)) if mlp else None

    def forward(
        self, x: Tensors, vectors: Tensor, squares: Tensor, different: Tensor, pairs: ItemPairs, times: Products
    ) -> Tensors:
        """Tensors to tensors.

        Args:
            x: of the items.
            vectors: (n, 1, 8), V(p_i).
            squares, different: (e, 1), as of :class:`Radial`.
            pairs: of the items.
            times: products of tensors.
        """
        blocks: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps}

        def collect(first: Irrep, second: Irrep, products: Tensor) -> None:
            found = outcomes(first, second)
            for irrep, block in zip(found, products.split([size(one) for one in found], -1), strict=True):
                blocks[irrep].append(block)

        # (2), (3): V(p_i - p_j) = V_i - V_j, so sum_j f_1 x_j * (V_i - V_j) is the product of V_i and a sum, and a sum.
        moved = {irrep: times(irrep, tensor, VECTOR, vectors) for irrep, tensor in x.items()}
        with_scalars, with_vectors = sums_over_pairs(
            self.radial(squares, different), list(x.values()), [*x.values(), *moved.values()], pairs
        )
        sums = dict(zip(x, with_vectors[: len(x)], strict=True))
        sums_of_moved = dict(zip(x, with_vectors[len(x) :], strict=True))
        for irrep, added in zip(x, with_scalars, strict=True):
            collect(irrep, SCALAR, added + times_i(added))
            collect(irrep, VECTOR, times(irrep, sums[irrep], VECTOR, vectors) - sums_of_moved[irrep])
        for irrep, tensor in x.items():
            blocks[irrep].append(tensor)
        for irrep, tensor in x.items():
            for other, factor in x.items():
                collect(irrep, other, times(irrep, tensor, other, factor))
        out = {irrep: mixed(torch.cat(blocks[irrep], 1), self.mixing[name(irrep)]) for irrep in self.irreps}
        if self.mlp is not None:
            out[SCALAR] = self.mlp(out[SCALAR].flatten(1)).view_as(out[SCALAR])  # (4)
        return out


def sums_over_pairs(
    factors: Tensor, first: list[Tensor], second: list[Tensor], pairs: ItemPairs
) -> tuple[list[Tensor], list[Tensor]]:
    """sum_j f_0 x_j of some tensors and sum_j f_1 x_j of others, complex, channel by channel.

    Args:
        factors: (e, 4 C), f_0 and f_1, each (channel, re/im).
        first, second: (n, C, d) each.
        pairs: of the items.
    """
    mask = pairs.items.mask
    of_pairs = pairs.in_slots(factors).unflatten(-1, (2, -1, 2)).permute(3, 0, 4, 1, 5, 2)  # 2, B, C, i, re/im, j

    def sums(factor: Tensor, tensors: list[Tensor]) -> list[Tensor]:
        x = torch.cat(tensors, 2)
        x = torch.stack([x, times_i(x)], 1)
        slots = pairs.items.unpack(x.flatten(1)).view(*mask.shape, *x.shape[1:])
        found = factor.flatten(3) @ slots.permute(0, 3, 2, 1, 4).flatten(2, 3)  # B, C, i, d
        packed = pairs.items.pack(found.transpose(1, 2).flatten(2)).view(x.shape[0], *x.shape[2:])
        return list(packed.split([tensor.shape[2] for tensor in tensors], 2))

    return sums(of_pairs[0], first), sums(of_pairs[1], second)


def outcomes_of_level(irreps: Iterable[Irrep]) -> Counter[Irrep]:
    """How many tensors of each irrep (3) mixes, in units of C."""
    irreps = list(irreps)
    found = Counter(irreps)
    for first in irreps:
        for second in (SCALAR, VECTOR, *irreps):
            found.update(outcomes(first, second))
    return found


def name(irrep: Irrep) -> str:
    """Of the parameters of an irrep."""
    return "{}{}".format(*irrep)


def mixing_weight(irrep: Irrep, before: int, after: int) -> nn.Parameter:
    """(2, C', C), the real and the imaginary part; as published, (l, l) starts smaller by 10^l."""
    scale = 10.0 ** -(irrep[0] if irrep[0] == irrep[1] else 0) / max(before, after, 2)
    return nn.Parameter(torch.randn(2, after, before) * scale)


class LGN(Network):
    """LGN: 4,518 parameters with two classes.

    Everything is computed in float32, also under autocast: invariants of tensors cancel. Where this departs from the
    author code: padding is masked behind (4) and in the sum of (5), where it shifts the published logits; (1) is closed
    for i = j, there wherever |p^2| rounds to zero.

    Args:
        n_features, n_classes: F and C.
        channels: of the tensors of the input and of each level.
        scalars: mass: of each item its mass and a mark, 1 for beams and -1 for particles; features: the inputs as well,
            zero for beams (the logits are then as invariant as these, no more).
        momenta_in: the four-vectors are tensors of the input as well, (1, 1).
        beams: add two particles (0, 0, +-1, sqrt 2) of mass 1, GeV, along the beam; without them the logits are
            invariant under all Lorentz transformations.
        mlp: with (4).
        scale: of all momenta, 1 / GeV. Logits grow with a high power of it.
    """

    single = True

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        channels: tuple[int, ...] = (2, 4, 4, 2),
        scalars: Literal["mass", "features"] = "mass",
        momenta_in: bool = False,
        beams: bool = True,
        mlp: bool = True,
        scale: float = 0.005,
    ) -> None:
        if len(channels) < 2 or min(channels) < 1:
            raise JetloomError(f"channels = {list(channels)}: expected those of the input and of at least one level")
        irreps: list[tuple[Irrep, ...]] = [(VECTOR, SCALAR) if momenta_in else (SCALAR,)]
        levels = []
        for before, after in pairwise(channels):
            levels.append(Level(irreps[-1], before, after, mlp))
            irreps.append(levels[-1].irreps)
        width = 2 * sum(len(some) * number for some, number in zip(irreps, channels, strict=True))
        super().__init__(jet_width=width, particle_width=width)
        self.references, self.scale, self.use_features = BEAMS if beams else (), scale, scalars == "features"
        inputs = 2 + n_features * self.use_features
        self.embed = None if momenta_in else nn.Linear(inputs, 2 * channels[0])
        self.embed_irreps = nn.ParameterDict()
        if momenta_in:
            for irrep, given in ((SCALAR, inputs), (VECTOR, 1)):
                self.embed_irreps[name(irrep)] = mixing_weight(irrep, given, channels[0])
        self.levels = nn.ModuleList(levels)
        self.product = Products(ORDER)
        self.head = nn.Linear(width, n_classes)

    def encode(self, batch: Batch) -> Encoded:
        """(5) of each particle and of the sum. Uses vectors and mask, and features where they are scalars."""
        vectors, mask = with_references(single_precision(vectors_of(batch)), batch.mask, self.references)
        with full_precision(vectors):
            vectors = vectors * self.scale
            pairs = ItemPairs(mask, batch.longer(len(self.references)))
            packed = pairs.items.pack(vectors)
            between = pairs.at_row(packed) - pairs.at_column(packed)
            squares = product(between, between)[:, None]
            tensors = self.product.tensors_of(packed)[:, None]
            x = self.embedded(pairs.items.pack(self.inputs(batch, vectors)), tensors)
            different, found = pairs.different(), [x]
            for level in self.levels:
                x = level(x, tensors, squares, different, pairs, self.product)
                found.append(x)
            out = [
                some[irrep] if irrep == SCALAR else self.product.invariant(irrep, some[irrep])
                for irrep in OF_OUTPUT
                for some in found
                if irrep in some
            ]
            of_items = pairs.items.unpack(torch.cat(out, 1).flatten(1))
        return Encoded(of_items[:, len(self.references) :], batch.mask, of_items.sum(1))

    def inputs(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Scalars of the items (B, M, S): mass and mark, and features; of their four-vectors (B, M, 4)."""
        mass = product(vectors, vectors).abs().sqrt()
        beams = len(self.references)
        mark = functional.pad(-torch.ones_like(mass[:, beams:]), (beams, 0), value=1.0)
        scalars = torch.stack([mass, mark], -1)
        if not self.use_features:
            return scalars
        features = batch.features.masked_fill(~batch.mask[..., None], 0.0).to(scalars.dtype)
        return torch.cat([scalars, functional.pad(features, (0, 0, beams, 0))], -1)

    def embedded(self, scalars: Tensor, vectors: Tensor) -> Tensors:
        """Scalars (n, S) and V(p) (n, 1, 8) to the tensors of the input."""
        if self.embed is not None:
            return {SCALAR: self.embed(scalars).unflatten(1, (-1, 2))}
        as_complex = torch.stack([scalars, torch.zeros_like(scalars)], -1)
        return {
            VECTOR: mixed(vectors, self.embed_irreps[name(VECTOR)]),
            SCALAR: mixed(as_complex, self.embed_irreps[name(SCALAR)]),
        }
