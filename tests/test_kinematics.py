"""Four-vector functions against values worked out by hand, and the `vector` package."""

import math

import numpy
import pytest
import torch
import vector

from jetloom.kinematics import delta_phi, delta_r, eta, kt, listed_pair_features, pair_features, phi, pt, rapidity
from tests.models.jets import four_vectors, random_jets

FLOOR = math.log(1e-8)


@pytest.fixture(scope="module")
def jets():
    batch = random_jets(8, 30, full=True)
    px, py, pz, energy = batch.vectors.double().unbind(-1)
    return batch.vectors.double(), vector.array(
        {"px": px.numpy(), "py": py.numpy(), "pz": pz.numpy(), "E": energy.numpy()}
    )


@pytest.mark.parametrize(("ours", "theirs"), [(pt, "pt"), (eta, "eta"), (phi, "phi"), (rapidity, "rapidity")])
def test_single_particles(jets, ours, theirs):
    numpy.testing.assert_allclose(ours(jets[0]).numpy(), getattr(jets[1], theirs), rtol=1e-9, atol=1e-9)


def test_distance(jets):
    vectors, peers = jets
    expected = peers[:, :, None].deltaR(peers[:, None, :])
    numpy.testing.assert_allclose(delta_r(vectors[:, :, None], vectors[:, None]).numpy(), expected, atol=1e-9)
    assert expected.max() > 0.5


def test_azimuth_wraps():
    assert delta_phi(torch.tensor(3.1), torch.tensor(-3.1)).item() == pytest.approx(6.2 - 2 * math.pi, abs=1e-6)
    assert delta_phi(torch.tensor(-3.1), torch.tensor(3.1)).item() == pytest.approx(2 * math.pi - 6.2, abs=1e-6)


def test_kt():
    vectors = torch.tensor([[30.0, 40.0, 7.0, 60.0]])
    assert kt(vectors, torch.tensor([[0.3, -0.4]])).item() == pytest.approx(25.0)


def test_pairs_against_vector(jets):
    """kT, z, Delta (in rapidity) and m2 of all pairs, from another package."""
    vectors, peers = jets
    first, second = peers[:, :, None], peers[:, None, :]
    softer = numpy.minimum(first.pt, second.pt)
    distance = numpy.hypot(first.rapidity - second.rapidity, first.deltaphi(second))
    expected = [softer * distance, softer / (first.pt + second.pt), distance, (first + second).mass2]
    expected = numpy.log(numpy.maximum(numpy.stack(expected, -1), 1e-8))
    off_diagonal = ~numpy.eye(30, dtype=bool)[None].repeat(8, 0)
    numpy.testing.assert_allclose(pair_features(vectors).numpy()[off_diagonal], expected[off_diagonal], atol=1e-5)


def test_back_to_back():
    """Two massless particles of 10 GeV, opposite in azimuth at rapidity 0: Delta = pi, m2 = 20^2."""
    pair = torch.tensor([[10.0, 0.0, 0.0, 10.0], [-10.0, 0.0, 0.0, 10.0]])
    expected = [math.log(10 * math.pi), math.log(0.5), math.log(math.pi), math.log(400.0)]
    torch.testing.assert_close(pair_features(pair)[0, 1], torch.tensor(expected))


def test_identical_and_collinear():
    """No angle, no mass: the floor; z is the share of the softer one."""
    light = torch.tensor([3.0, 4.0, 0.0, 5.0])
    pairs = pair_features(torch.stack([light, light, 3 * light]))
    torch.testing.assert_close(pairs[0, 1], torch.tensor([FLOOR, math.log(0.5), FLOOR, FLOOR]))
    torch.testing.assert_close(pairs[0, 2], torch.tensor([FLOOR, math.log(0.25), FLOOR, FLOOR]))


def test_zero_vectors_and_beams_are_finite():
    """Four-vectors of zero reach every floor; momenta along both beams give no NaN."""
    vectors = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 9.0], [0.0, 0.0, -9.0, 9.0], [0.0, 0.0, -9.0, 8.99]])
    pairs = pair_features(vectors)
    assert pairs.isfinite().all()
    torch.testing.assert_close(pairs[0, 0], torch.full((4,), FLOOR))
    assert abs(FLOOR + 18.42) < 0.001
    for function in (pt, eta, phi, rapidity):
        assert function(vectors).isfinite().all()


def test_symmetry_and_listed_pairs():
    vectors = random_jets(1, 20, full=True).vectors[0]
    pairs = pair_features(vectors)
    torch.testing.assert_close(pairs, pairs.transpose(0, 1), rtol=1e-5, atol=1e-5)
    first, second = torch.tril_indices(20, 20)
    assert torch.equal(listed_pair_features(vectors, first, second), pairs[first, second])


def test_float32_and_no_gradient_under_autocast():
    vectors = random_jets(1, 20, full=True).vectors.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        pairs = pair_features(vectors)
    assert pairs.dtype == torch.float32 and not pairs.requires_grad
    assert torch.equal(pairs, pair_features(vectors))
    assert not pt(vectors).requires_grad


def test_boost_along_the_beam_changes_nothing_in_the_pairs():
    """All four features are invariant under boosts along z."""
    batch = random_jets(1, 20, full=True).vectors.double()
    gamma, beta = math.cosh(0.7), math.tanh(0.7)
    px, py, pz, energy = batch.unbind(-1)
    boosted = torch.stack([px, py, gamma * (pz + beta * energy), gamma * (energy + beta * pz)], -1)
    off = ~torch.eye(20, dtype=torch.bool)
    torch.testing.assert_close(pair_features(boosted)[0, off], pair_features(batch)[0, off], rtol=0, atol=1e-5)


def test_generator_of_jets_is_consistent():
    """Coordinates and features of the tests' jets follow from the four-vectors."""
    batch = random_jets(6, 24)
    assert batch.mask[0].all() and not batch.mask.all()
    assert not batch.vectors[~batch.mask].any() and not batch.features[~batch.mask].any()
    ours = four_vectors(pt(batch.vectors), eta(batch.vectors), phi(batch.vectors))[..., :3]
    torch.testing.assert_close(ours[batch.mask], batch.vectors[..., :3][batch.mask], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(batch.features[..., -2:], batch.coordinates)
