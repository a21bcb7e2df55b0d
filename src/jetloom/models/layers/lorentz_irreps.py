"""Finite-dimensional representations of the Lorentz group, and their Clebsch-Gordan products.

The irreducible representation (k, n) has tensors x_ac, a = 0..k and c = 0..n: a spin k / 2 and a spin n / 2 (components
ascending) that do not meet: (0, 0) are scalars, (1, 1) four-vectors, (2, 0) and (0, 2) the two halves of antisymmetric
tensors, (2, 2) traceless symmetric tensors. Components are complex; here they are stored as real numbers (a, c, re/im)
in one axis of length 2 (k + 1) (n + 1), since graphs for ONNX and mixed precision know no complex numbers.
"""

from collections.abc import Iterable
from math import factorial, sqrt

import torch
from torch import Tensor, nn

Irrep = tuple[int, int]
SCALAR: Irrep = (0, 0)
VECTOR: Irrep = (1, 1)
HIGHEST = 2
"""Products of a larger k or n are dropped."""
COMPLEX = (((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (-1.0, 0.0)))
"""J_pqr: (x y)_r = sum_pq J_pqr x_p y_q of the parts (re, im) of complex numbers."""


def size(irrep: Irrep) -> int:
    """Real numbers of a tensor."""
    return 2 * (irrep[0] + 1) * (irrep[1] + 1)


def outcomes(first: Irrep, second: Irrep) -> list[Irrep]:
    """What the product of two irreps holds: all k in |k1 - k2| .. k1 + k2 in steps of 2, and n likewise."""

    def of(one: int, other: int) -> range:
        return range(abs(one - other), min(one + other, HIGHEST) + 1, 2)

    return [(k, n) for k in of(first[0], second[0]) for n in of(first[1], second[1])]


def clebsch_gordan(k1: int, k2: int, k: int) -> Tensor:
    """<k1/2 a, k2/2 b | k/2 K> as (k1 + 1, k2 + 1, k + 1) in double precision, all components ascending.

    Racah's formula, in the phases of Condon and Shortley.
    """
    table = torch.zeros(k1 + 1, k2 + 1, k + 1, dtype=torch.float64)
    half1, half2, half = (k + k1 - k2) // 2, (k - k1 + k2) // 2, (k1 + k2 - k) // 2
    triangle = (k + 1) * factorial(half1) * factorial(half2) * factorial(half) / factorial((k1 + k2 + k) // 2 + 1)
    for a in range(k1 + 1):
        for b in range(k2 + 1):
            # m = a - k1/2 + b - k2/2, and K = m + k/2.
            total = a + b - half
            if not 0 <= total <= k:
                continue
            weight = triangle
            for place, top in ((total, k), (a, k1), (b, k2)):
                weight *= factorial(place) * factorial(top - place)
            series = 0.0
            for s in range(half + 1):
                parts = (s, half - s, k1 - a - s, b - s, half1 - (k1 - a) + s, half2 - b + s)
                if min(parts) >= 0:
                    denominator = 1
                    for part in parts:
                        denominator *= factorial(part)
                    series += (-1) ** s / denominator
            table[a, b, total] = sqrt(weight) * series
    return table


def times_i(x: Tensor) -> Tensor:
    """i x of (..., d)."""
    real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([-imaginary, real], -1).flatten(-2)


def vector_matrix() -> Tensor:
    """(4, 8) in double precision: four-vectors px, py, pz, E to the irrep (1, 1).

    V_ac = sum_lm <1/2 a, 1/2 c | l m> p_lm with p_00 = E, p_1-1 = (px - i py) / sqrt 2, p_10 = pz and
    p_11 = -(px + i py) / sqrt 2.
    """
    r = 0.5**0.5
    # Rows px, py, pz, E; columns (l, m, re/im).
    spherical = torch.tensor(
        [[0, 0, r, 0, 0, 0, -r, 0], [0, 0, 0, -r, 0, 0, 0, -r], [0, 0, 0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]],
        dtype=torch.float64,
    )
    coupled = torch.cat([clebsch_gordan(1, 1, 0), clebsch_gordan(1, 1, 2)], 2)
    return torch.einsum("vmr,acm->vacr", spherical.view(4, 4, 2), coupled).reshape(4, 8)


class Products(nn.Module):
    """Four-vectors as tensors, products and invariants of tensors.

    Args:
        irreps: which may be multiplied with each other.
    """

    def __init__(self, irreps: Iterable[Irrep]) -> None:
        super().__init__()
        irreps = list(irreps)
        parts = torch.tensor(COMPLEX, dtype=torch.float64)
        # In double precision, so that a network in double precision is exact.
        self.register_buffer("vector", vector_matrix(), persistent=False)
        for first in irreps:
            for second in irreps:
                tables = [
                    torch.einsum(
                        "abK,cdN,pqr->acpbdqKNr",
                        clebsch_gordan(first[0], second[0], k),
                        clebsch_gordan(first[1], second[1], n),
                        parts,
                    ).reshape(size(first) * size(second), size((k, n)))
                    for k, n in outcomes(first, second)
                ]
                self.register_buffer(self.name(first, second), torch.cat(tables, 1), persistent=False)
            self.register_buffer(self.form(first), _form(first, parts), persistent=False)

    @staticmethod
    def name(first: Irrep, second: Irrep) -> str:
        """Of the table of a product."""
        return "product_{}{}_{}{}".format(*first, *second)

    @staticmethod
    def form(irrep: Irrep) -> str:
        """Of the table of an invariant."""
        return "invariant_{}{}".format(*irrep)

    def tensors_of(self, vectors: Tensor) -> Tensor:
        """Four-vectors px, py, pz, E, (..., 4) to (..., 8), the irrep (1, 1)."""
        return vectors @ self.get_buffer("vector").to(vectors.dtype)

    def forward(self, first: Irrep, x: Tensor, second: Irrep, y: Tensor) -> Tensor:
        """The product of each channel: (n, C, d1) and (n, C, d2) to the tensors of all :func:`outcomes` in turn."""
        return self._bilinear(self.name(first, second), x, y)

    def invariant(self, irrep: Irrep, x: Tensor) -> Tensor:
        """I(x) = sum_ac (-1)^(a + c) x_ac x_(k-a)(n-c), without conjugation: (n, C, d) to (n, C, 2)."""
        return self._bilinear(self.form(irrep), x, x)

    def _bilinear(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        return (x[..., :, None] * y[..., None, :]).flatten(-2) @ self.get_buffer(name).to(x.dtype)


def _form(irrep: Irrep, parts: Tensor) -> Tensor:
    def signed(k: int) -> Tensor:
        signs = torch.tensor([(-1.0) ** a for a in range(k + 1)], dtype=torch.float64)
        return torch.diag(signs).flip(1)

    table = torch.einsum("ab,cd,pqr->acpbdqr", signed(irrep[0]), signed(irrep[1]), parts)
    return table.reshape(size(irrep) ** 2, 2)


def mixed(x: Tensor, weight: Tensor) -> Tensor:
    """Channels by a complex matrix: (n, C, d) and (2, C', C), its real and its imaginary part, to (n, C', d)."""
    return torch.cat([weight[0], weight[1]], 1) @ torch.cat([x, times_i(x)], 1)
