"""LGN: outputs of the authors' code on weights by a rule, counts, one level with complex tensors, symmetry."""

import itertools

import pytest
import torch
from sympy import Rational
from sympy.physics.quantum.cg import CG
from torch import Tensor

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build, fast
from jetloom.models.layers.item_pairs import ItemPairs
from jetloom.models.layers.lorentz_irreps import VECTOR, Products, clebsch_gordan, outcomes, size
from jetloom.models.layers.minkowski import product
from jetloom.models.lgn import ORDER, Level, name
from jetloom.models.network import Network
from tests.models.agreement import kernels_give_the_formulas
from tests.models.check_values import fill, jet
from tests.models.jets import random_jets
from tests.models.lorentz import about_z, boost, rotation

CHECKED = [-626.817418, 521.74226]
WITH_MOMENTA = [685.55312, 1178.14601]


def tensors(model: Network):
    """In the order of the check values."""
    for level in model.levels:
        radial = level.radial
        yield from (radial.a, radial.b, radial.c)
        yield from (radial.of_scalars.weight, radial.of_scalars.bias, radial.of_vectors.weight, radial.of_vectors.bias)
    if model.embed is not None:
        yield from (model.embed.weight, model.embed.bias)
    yield from (model.embed_irreps[key] for key in sorted(model.embed_irreps))
    for level in model.levels:
        yield from (level.mixing[name(irrep)] for irrep in sorted(level.irreps))
    for level in model.levels:
        for layer in level.mlp[::2]:
            yield from (layer.weight, layer.bias)
    yield from (model.head.weight, model.head.bias)


@torch.no_grad()
@pytest.mark.parametrize(("momenta_in", "expected"), [(False, CHECKED), (True, WITH_MOMENTA)])
def test_outputs_of_the_author_code(momenta_in, expected):
    """To their last digit; with two padded slots, which shift the logits there and not here."""
    model = build("lgn", n_features=3, n_classes=2, scale=0.05, momenta_in=momenta_in).double().eval()
    fill((x, False) for x in tensors(model))
    zeros = torch.zeros(1, 7, 3, dtype=torch.float64)
    vectors = torch.cat([jet(5), torch.zeros(2, 4, dtype=torch.float64)])[None]
    batch = Batch(zeros, vectors, zeros[..., :2], torch.arange(7)[None] < 5)
    expected = torch.tensor([expected], dtype=torch.float64)
    torch.testing.assert_close(model(batch), expected, rtol=0.0, atol=5e-6)
    with fast.off():
        torch.testing.assert_close(model(batch), expected, rtol=0.0, atol=5e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 4_518),
        ({"channels": [2, 3, 4, 3]}, 4_646),
        ({"momenta_in": True}, 6_014),
        ({"channels": [2, 3, 4, 3], "momenta_in": True}, 5_770),
        ({"momenta_in": True, "mlp": False}, 4_146),
    ],
)
def test_published_counts(options, expected):
    model = build("lgn", n_features=7, n_classes=2, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_clebsch_gordan_coefficients_are_those_of_sympy():
    for k1, k2 in itertools.product(range(4), repeat=2):
        for k in range(abs(k1 - k2), k1 + k2 + 1, 2):
            found = clebsch_gordan(k1, k2, k)
            for a, b, total in itertools.product(range(k1 + 1), range(k2 + 1), range(k + 1)):
                m1, m2, m = a - Rational(k1, 2), b - Rational(k2, 2), total - Rational(k, 2)
                expected = CG(Rational(k1, 2), m1, Rational(k2, 2), m2, Rational(k, 2), m).doit() if m1 + m2 == m else 0
                assert found[a, b, total].item() == pytest.approx(float(expected), abs=1e-14)


@torch.no_grad()
def test_invariants_of_four_vectors_are_their_squares():
    """Up to one factor, which is real; of all irreps, they are left alone by the transformation of a product."""
    vectors = torch.randn(6, 4, dtype=torch.float64)
    products = Products([VECTOR])
    found = products.invariant(VECTOR, products.tensors_of(vectors)[:, None])[:, 0]
    squares = product(vectors, vectors)
    torch.testing.assert_close(found[:, 0] / squares, (found[0, 0] / squares[0]).expand(6))
    assert found[0, 0].abs() > 1e-3 and found[:, 1].abs().max() < 1e-14


def level_of_one_jet(level: Level, x: dict, vectors: Tensor, tensor_of) -> dict:
    """(1) to (4) with complex numbers, pair by pair: tensors (N, C, k + 1, n + 1) and four-vectors (N, 4)."""

    def complex_of(real: Tensor) -> Tensor:
        return torch.view_as_complex(real.unflatten(-1, (-1, 2)).contiguous())

    def times(first, one: Tensor, second, other: Tensor):
        for k, n in outcomes(first, second):
            left = clebsch_gordan(first[0], second[0], k).to(one.dtype)
            right = clebsch_gordan(first[1], second[1], n).to(one.dtype)
            yield (k, n), torch.einsum("abK,cdN,...ac,...bd->...KN", left, right, one, other)

    number, blocks = len(vectors), {irrep: [] for irrep in level.irreps}
    radial, edges = level.radial, {}
    for i, j in itertools.product(range(number), repeat=2):
        between = vectors[i] - vectors[j]
        interval = product(between, between)
        n = interval.sign() * interval.abs().sqrt()
        r = radial.a + radial.b / (1 + (radial.c * n) ** 2) if i != j else torch.zeros(20, dtype=torch.float64)
        direction = complex_of(tensor_of(between)).view(1, 2, 2)
        edges[i, j] = ((1 + 1j) * complex_of(radial.of_scalars(r)).view(-1, 1, 1),
                       complex_of(radial.of_vectors(r)).view(-1, 1, 1) * direction)  # fmt: skip
    for irrep, tensor in x.items():
        for which, second in enumerate([(0, 0), (1, 1)]):
            found = {one: torch.zeros(number, *value.shape, dtype=value.dtype)
                     for one, value in times(irrep, tensor[0], second, edges[0, 0][which])}  # fmt: skip
            for i, j in edges:
                for one, value in times(irrep, tensor[j], second, edges[i, j][which]):
                    found[one][i] += value
            for one, value in found.items():
                blocks[one].append(value)
    for irrep, tensor in x.items():
        blocks[irrep].append(tensor)
    for (first, one), (second, other) in itertools.product(x.items(), repeat=2):
        for irrep, value in times(first, one, second, other):
            blocks[irrep].append(value)
    out = {}
    for irrep in level.irreps:
        real, imaginary = level.mixing[name(irrep)]
        out[irrep] = torch.einsum("oc,ncKN->noKN", torch.complex(real, imaginary), torch.cat(blocks[irrep], 1))
    scalars = torch.view_as_real(out[0, 0][:, :, 0, 0]).flatten(1)
    out[0, 0] = complex_of(level.mlp(scalars)).view_as(out[0, 0])
    return out


@torch.no_grad()
def test_a_level_is_a_loop_over_pairs_of_complex_tensors():
    torch.manual_seed(0)
    level, products, vectors = Level(ORDER, 2, 3, mlp=True).double(), Products(ORDER), jet(4) * 0.05
    x = {irrep: torch.randn(4, 2, size(irrep), dtype=torch.float64) for irrep in ORDER}
    expected = level_of_one_jet(
        level,
        {(k, n): torch.view_as_complex(value.view(4, 2, k + 1, n + 1, 2)) for (k, n), value in x.items()},
        vectors,
        products.tensors_of,
    )
    pairs = ItemPairs(torch.ones(1, 4, dtype=torch.bool))
    between = pairs.at_row(vectors) - pairs.at_column(vectors)
    squares = product(between, between)[:, None]
    found = level(x, products.tensors_of(vectors)[:, None], squares, pairs.different(), pairs, products)
    assert found.keys() == expected.keys()
    for irrep, value in expected.items():
        torch.testing.assert_close(found[irrep].flatten(), torch.view_as_real(value).flatten(), rtol=1e-9, atol=1e-9)


def small(**options) -> Network:
    """With weights of all irreps that are not tiny."""
    torch.manual_seed(1)
    model = build("lgn", n_features=17, n_classes=3, **({"channels": [2, 3, 2], "scale": 0.1} | options)).double()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "mixing" in key:
                parameter.normal_(std=0.3)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("momenta_in", [False, True])
def test_lorentz_transformations(momenta_in):
    """All of them without beams; with these, rotations about the beam only."""
    jets = random_jets(4, 8, seed=5)
    momentum = jets.vectors[..., :3].double() / 50
    energy = (momentum.square().sum(-1) + 0.02).sqrt() * jets.mask
    jets = jets._replace(vectors=torch.cat([momentum, energy[..., None]], -1))
    generator = torch.Generator().manual_seed(0)
    anything = rotation(generator) @ boost(torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64), 0.5)
    for beams, matrix, same in (
        (False, anything, True), (True, anything, False), (True, about_z(1.0), True),
    ):  # fmt: skip
        model = small(beams=beams, momenta_in=momenta_in)
        expected, moved = model(jets), model(jets._replace(vectors=jets.vectors @ matrix.T))
        assert (expected[0] - expected[1]).abs().max() > 1e-3
        assert torch.allclose(moved, expected, rtol=1e-9, atol=1e-9) == same


@pytest.mark.parametrize("options", [{"scalars": "features"}, {"momenta_in": True, "beams": False, "mlp": False}])
def test_kernels_give_the_formulas(options):
    kernels_give_the_formulas(small(**options), 1e-9)


@torch.no_grad()
def test_radial_functions_are_of_pairs_of_real_particles():
    model, batch = small().float(), random_jets(4, 20, shortest=5, seed=2)
    rows: list[int] = []
    model.levels[0].radial.register_forward_hook(lambda layer, inputs, output: rows.append(len(output)))
    model(batch)
    assert rows == [int(((batch.mask.sum(1) + 2) ** 2).sum())]


@torch.no_grad()
def test_everything_stays_in_single_precision_under_autocast():
    model, jets = small().float(), random_jets(4, 12, seed=5)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.encode(jets).jet
    assert torch.equal(found, model.encode(jets).jet)


@pytest.mark.parametrize("channels", [[2], [2, 0]])
def test_impossible_sizes_are_one_line(channels):
    with pytest.raises(JetloomError, match=r"channels = .*: expected those of the input and of at least one level"):
        build("lgn", n_features=3, n_classes=2, channels=channels)
