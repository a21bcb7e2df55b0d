"""Substructure against FastJet, a stored table of FastJet's values, direct sums and jets worked out by hand."""

import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from jetloom.substructure import EDGES, OBSERVABLES, d2, energy_correlator, n_subjettiness, observables

STORED = Path(__file__).with_name("substructure_jets.json")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def fastjet():
    return pytest.importorskip("fastjet", reason="the oracle needs the extra [simulate]")


def four_vectors(pt, rapidity, azimuth, mass=0.0):
    pt, rapidity, azimuth, mass = np.broadcast_arrays(pt, rapidity, azimuth, mass)
    transverse = np.hypot(pt, mass)
    return np.stack(
        [pt * np.cos(azimuth), pt * np.sin(azimuth), transverse * np.sinh(rapidity), transverse * np.cosh(rapidity)], -1
    )


def random_jets(jets, most, seed, least=1, spread=0.3):
    """Jets of ``least`` to ``most`` particles in any order of slots, NaN where padded; half of them massive."""
    generator = np.random.default_rng(seed)
    count = np.concatenate([np.arange(least, most + 1), generator.integers(least, most + 1, jets)])[:jets]
    shape = (jets, most + 3)
    center = generator.uniform([-2, -math.pi], [2, math.pi], (jets, 1, 2))
    rapidity, azimuth = np.moveaxis(center + generator.normal(0, spread, (*shape, 2)), -1, 0)
    mass = np.where(generator.random(shape) < 0.5, generator.exponential(1.0, shape), 0.0)
    vectors = four_vectors(np.exp(generator.normal(1.5, 1.2, shape)), rapidity, azimuth, mass)
    mask = generator.permuted(np.arange(shape[1]) < count[:, None], axis=1)
    vectors[~mask] = np.nan
    return vectors, mask


def prongs(*particles):
    """One jet of (pT, rapidity, azimuth) or (pT, rapidity, azimuth, mass)."""
    vectors = np.stack([four_vectors(*particle) for particle in particles])
    return vectors[None], np.ones((1, len(vectors)), bool)


def padded(jets):
    mask = np.arange(max(map(len, jets))) < np.array([len(jet) for jet in jets])[:, None]
    vectors = np.full((*mask.shape, 4), np.nan)
    vectors[mask] = np.concatenate(jets)
    return vectors, mask


def fastjet_taus(fastjet, jet, most=3, radius=0.8, distance=None):
    """tau_1 ... of one jet (n, 4), NaN for more axes than particles."""
    distance = distance or (lambda particle, axis: particle.delta_R(axis))
    particles = [fastjet.PseudoJet(*map(float, vector)) for vector in jet]
    sequence = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.kt_algorithm, radius))
    taus = np.full(most, np.nan)
    for axes in range(1, min(most, len(jet)) + 1):
        found = sequence.exclusive_jets(axes)
        terms = [particle.pt() * min(distance(particle, axis) for axis in found) for particle in particles]
        taus[axes - 1] = sum(terms) / sum(particle.pt() for particle in particles) / radius
    return taus


def fastjet_d2(fastjet, jet):
    """FastJet contrib's EnergyCorrelatorD2 of one jet: all particles in one, whatever their distance."""
    import awkward

    columns = {name: jet[:, index].astype(float) for index, name in enumerate(("px", "py", "pz", "E"))}
    whole = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    sequence = fastjet.ClusterSequence(awkward.zip(columns, with_name="Momentum4D"), whole)
    return float(np.squeeze(awkward.to_numpy(sequence.exclusive_jets_energy_correlator(njets=1, func="d2"))))


def direct_d2(jet):
    """The sums as they are written, one term at a time."""
    px, py, pz, energy = jet.T
    pt, azimuth, rapidity = np.hypot(px, py), np.arctan2(py, px), 0.5 * np.log((energy + pz) / (energy - pz))

    def angle(i, j):
        return math.hypot(rapidity[i] - rapidity[j], math.remainder(azimuth[i] - azimuth[j], 2 * math.pi))

    particles = range(len(jet))
    second = sum(pt[i] * pt[j] * angle(i, j) for i, j in itertools.combinations(particles, 2))
    third = sum(
        pt[i] * pt[j] * pt[k] * angle(i, j) * angle(i, k) * angle(j, k)
        for i, j, k in itertools.combinations(particles, 3)
    )
    return third * pt.sum() ** 3 / second**3


def test_axes_are_those_of_fastjet(fastjet):
    vectors, mask = random_jets(180, 60, seed=1)
    expected = [fastjet_taus(fastjet, jet[real]) for jet, real in zip(vectors, mask, strict=True)]
    np.testing.assert_allclose(n_subjettiness(vectors, mask), expected, rtol=1e-10, atol=1e-10)


def test_wide_jets_send_objects_to_the_beam(fastjet):
    """With particles up to several R apart the distances to the beam decide which axes are left."""
    vectors, mask = random_jets(100, 20, seed=2, spread=1.5)
    expected = [fastjet_taus(fastjet, jet[real], most=5, radius=0.6) for jet, real in zip(vectors, mask, strict=True)]
    np.testing.assert_allclose(n_subjettiness(vectors, mask, most=5, radius=0.6), expected, rtol=1e-10, atol=1e-10)
    # Axes of a radius that takes everything in are others: the beam has a part in it.
    closed = n_subjettiness(vectors, mask, most=5, radius=1000.0) * 1000.0 / 0.6
    assert np.nanmax(np.abs(closed - expected)) > 0.1


def test_d2_is_that_of_fastjet(fastjet):
    vectors, mask = random_jets(60, 40, seed=3, least=3)
    expected = [fastjet_d2(fastjet, jet[real]) for jet, real in zip(vectors, mask, strict=True)]
    np.testing.assert_allclose(d2(vectors, mask), expected, rtol=1e-10)


def test_d2_is_the_sum_over_pairs_and_triples():
    vectors, mask = random_jets(20, 15, seed=4, least=3)
    expected = [direct_d2(jet[real]) for jet, real in zip(vectors, mask, strict=True)]
    np.testing.assert_allclose(d2(vectors, mask), expected, rtol=1e-10)


def test_stored_jets():
    """Twenty jets with what FastJet 3.5.2 says of them."""
    stored = json.loads(STORED.read_text())["jets"]
    vectors, mask = padded([np.array(jet["vectors"]) for jet in stored])
    assert len(stored) == 20
    taus = np.array([jet["tau"] for jet in stored], float)
    np.testing.assert_allclose(n_subjettiness(vectors, mask), taus, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(d2(vectors, mask), np.array([jet["d2"] for jet in stored], float), rtol=1e-9, atol=1e-12)
    found = observables(vectors, mask)
    assert tuple(found) == OBSERVABLES == ("mass", "pt", "multiplicity", "tau21", "tau32", "d2")
    np.testing.assert_allclose(found["mass"], [jet["mass"] for jet in stored], rtol=1e-9, atol=1e-4)
    np.testing.assert_allclose(found["pt"], [jet["pt"] for jet in stored], rtol=1e-12)
    assert found["multiplicity"].tolist() == [len(jet["vectors"]) for jet in stored]
    several, three = mask.sum(1) >= 2, mask.sum(1) >= 3
    np.testing.assert_allclose(found["tau21"][several], (taus[:, 1] / taus[:, 0])[several], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["tau32"][three], (taus[:, 2] / taus[:, 1])[three], rtol=1e-9, atol=1e-9)
    assert np.isnan(found["tau21"][~several]).all() and np.isnan(found["tau32"][~three]).all()
    assert all(len(column) == 20 and column.dtype == np.float64 for column in found.values())


def test_stored_values_are_those_of_fastjet(fastjet):
    for jet in json.loads(STORED.read_text())["jets"]:
        particles = np.array(jet["vectors"])
        np.testing.assert_allclose(
            fastjet_taus(fastjet, particles), np.array(jet["tau"], float), rtol=1e-10, atol=1e-10
        )
        if jet["d2"] is not None:
            assert fastjet_d2(fastjet, particles) == pytest.approx(jet["d2"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("particles", [1, 2, 3])
def test_as_many_axes_as_particles(particles):
    vectors, mask = random_jets(50, particles, seed=5, least=particles)
    taus = n_subjettiness(vectors, mask)
    assert (taus[:, particles - 1] == 0).all()
    assert (taus[:, : particles - 1] > 0).all()
    assert np.isnan(taus[:, particles:]).all()


def test_two_prongs():
    """tau1 of two particles of 50 GeV by hand; two equal prongs of four particles each have tau2 = 0."""
    vectors, mask = prongs((50, 0.2, 3.1), (50, 0.2, -3.1))  # the azimuth wraps
    angle = 2 * math.pi - 6.2
    assert n_subjettiness(vectors, mask)[0, 0] == pytest.approx(angle / 2 / 0.8)
    found = observables(vectors, mask)
    assert found["tau21"][0] == 0 and np.isnan(found["tau32"][0]) and found["d2"][0] == 0
    assert found["mass"][0] == pytest.approx(math.sqrt(2 * 50**2 * (1 - math.cos(angle))))
    assert found["pt"][0] == pytest.approx(100 * math.cos(angle / 2))
    many = prongs(*[(12.5, 0.2, side) for side in (-0.2, 0.2) for _ in range(4)])
    assert observables(*many)["tau21"][0] == pytest.approx(0, abs=1e-12)


def test_three_particles_by_hand():
    """An equilateral triangle has e2 and e3 from its side; then the softest particle a little nearer to the second."""
    height = 0.3 * math.sqrt(3) / 2
    vectors, mask = prongs((10, 0, 0), (20, 0, 0.3), (30, height, 0.15))
    shares = np.array([10, 20, 30]) / 60
    second = 0.3 * (shares[0] * shares[1] + shares[0] * shares[2] + shares[1] * shares[2])
    assert d2(vectors, mask)[0] == pytest.approx(0.3**3 * shares.prod() / second**3)
    vectors, mask = prongs((10, 0, 0.01), (20, 0, 0.3), (30, height, 0.15))
    first, other = vectors[0, :2]
    axis = first + other
    rapidity, azimuth = 0.5 * np.log((axis[3] + axis[2]) / (axis[3] - axis[2])), np.arctan2(axis[1], axis[0])
    expected = 10 * math.hypot(rapidity, azimuth - 0.01) + 20 * math.hypot(rapidity, azimuth - 0.3)
    assert n_subjettiness(vectors, mask)[0, 1] == pytest.approx(expected / 60 / 0.8)


def test_a_single_particle_has_no_mass():
    vectors, mask = random_jets(30, 1, seed=6)
    momenta = vectors[mask][:, :3]
    vectors[mask] = np.concatenate([momenta, np.linalg.norm(momenta, axis=1)[:, None]], axis=1)
    found = observables(vectors, mask)
    assert found["mass"].max() < 1e-5
    np.testing.assert_allclose(found["pt"], np.hypot(momenta[:, 0], momenta[:, 1]))
    assert (found["multiplicity"] == 1).all()
    assert np.isnan([found[name] for name in ("tau21", "tau32", "d2")]).all()


def test_negative_squared_mass_is_none():
    vectors = np.array([[[3.0, 4.0, 0.0, 4.9]]])
    assert observables(vectors, np.ones((1, 1), bool))["mass"].tolist() == [0.0]


def test_distances_are_in_rapidity(fastjet):
    """Axes have mass: their pseudorapidity is another, and gives another tau."""
    vectors, mask = random_jets(40, 30, seed=7, least=10)
    jets = [jet[real] for jet, real in zip(vectors, mask, strict=True)]

    def pseudo(particle, axis):
        return math.hypot(particle.rap() - axis.eta(), particle.delta_phi_to(axis))

    ours = n_subjettiness(vectors, mask)
    false = np.array([fastjet_taus(fastjet, jet, distance=pseudo) for jet in jets])
    assert (np.abs(false / ours - 1).max(axis=0) > 1e-3).all()


def test_massive_particles_are_placed_by_their_rapidity():
    """Equal pseudorapidity, other mass: the distance is the difference of rapidities."""
    light, heavy = four_vectors(20.0, 1.0, 0.0), four_vectors(20.0, 0.8, 0.0, 10.0)
    found = n_subjettiness(np.stack([light, heavy])[None], np.ones((1, 2), bool))[0]
    axis = light + heavy
    rapidity = 0.5 * math.log((axis[3] + axis[2]) / (axis[3] - axis[2]))
    assert found[0] == pytest.approx((abs(1.0 - rapidity) + abs(0.8 - rapidity)) / 2 / 0.8)


def test_rotations_about_the_beam_and_boosts_along_it_change_nothing():
    vectors, mask = random_jets(60, 40, seed=8)
    px, py, pz, energy = np.moveaxis(vectors, -1, 0)
    cosine, sine, gamma, momentum = math.cos(2.5), math.sin(2.5), math.cosh(0.7), math.sinh(0.7)
    moved = np.stack(
        [
            cosine * px - sine * py,
            sine * px + cosine * py,
            gamma * pz + momentum * energy,
            gamma * energy + momentum * pz,
        ],
        -1,
    )
    before, after = observables(vectors, mask), observables(moved, mask)
    for name in OBSERVABLES:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-8, atol=1e-4 if name == "mass" else 1e-9)
    np.testing.assert_allclose(energy_correlator(moved, mask), energy_correlator(vectors, mask), atol=1e-9)


def test_padding_and_order_change_nothing():
    vectors, mask = random_jets(60, 40, seed=9)
    filled = vectors.copy()
    filled[~mask] = np.random.default_rng(0).normal(0, 100, ((~mask).sum(), 4))
    filled[0, ~mask[0]] = np.inf
    wider = np.concatenate([np.full((60, 5, 4), -7.0), filled], axis=1)
    wide = np.concatenate([np.zeros((60, 5), bool), mask], axis=1)
    expected = observables(vectors, mask)
    for found in (observables(filled, mask), observables(wider, wide)):
        for name in OBSERVABLES:
            np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(energy_correlator(wider, wide), energy_correlator(vectors, mask))
    order = np.random.default_rng(1).permuted(np.tile(np.arange(mask.shape[1]), (60, 1)), axis=1)
    mixed, real = np.take_along_axis(vectors, order[..., None], 1), np.take_along_axis(mask, order, 1)
    for name, values in observables(mixed, real).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-9, atol=1e-4 if name == "mass" else 1e-10)


def test_jets_do_not_depend_on_each_other(monkeypatch):
    """One jet at a time, many chunks and all at once give the same."""
    vectors, mask = random_jets(50, 30, seed=10)
    together = observables(vectors, mask)
    alone = [observables(vectors[i : i + 1], mask[i : i + 1]) for i in range(50)]
    correlator = energy_correlator(vectors, mask)
    monkeypatch.setattr("jetloom.substructure._CELLS", 2000)
    parts = observables(vectors, mask)
    for name in OBSERVABLES:
        np.testing.assert_allclose(np.concatenate([one[name] for one in alone]), together[name], rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(parts[name], together[name], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(energy_correlator(vectors, mask), correlator, rtol=1e-11)


def test_single_precision_is_widened():
    vectors, mask = random_jets(30, 20, seed=11)
    narrow = vectors.astype(np.float32)
    for name, values in observables(narrow, mask).items():
        np.testing.assert_array_equal(values, observables(narrow.astype(float), mask)[name])


def test_energy_correlator_against_a_loop():
    vectors, mask = random_jets(15, 12, seed=12)
    expected = np.zeros(len(EDGES) - 1)
    for jet, real in zip(vectors, mask, strict=True):
        px, py, pz, energy = jet[real].T
        share = np.hypot(px, py) / np.hypot(px, py).sum()
        rapidity, azimuth = np.arctanh(pz / energy), np.arctan2(py, px)
        for i, j in itertools.combinations(range(real.sum()), 2):
            angle = math.hypot(rapidity[i] - rapidity[j], math.remainder(azimuth[i] - azimuth[j], 2 * math.pi))
            if EDGES[0] <= angle < EDGES[-1]:
                expected[np.searchsorted(EDGES, angle, side="right") - 1] += share[i] * share[j]
    found = energy_correlator(vectors, mask)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9, atol=1e-14)
    assert found.sum() == pytest.approx(1) and (found > 0).sum() > 5


def test_energy_correlator_by_hand():
    """Shares 0.5, 0.3, 0.2: pairs at 0.1, 0.3 and 0.4 with weights 0.15, 0.06 and 0.1."""
    jet = prongs((50, 0, 0), (30, 0.1, 0), (20, 0.4, 0))
    found = energy_correlator(*jet, edges=np.array([0.05, 0.2, 0.35, 0.5]))
    np.testing.assert_allclose(found, np.array([0.15, 0.06, 0.1]) / 0.31)
    np.testing.assert_allclose(energy_correlator(*jet, edges=np.array([0.2, 0.35, 0.5])), np.array([0.06, 0.1]) / 0.16)
    assert EDGES[0] == pytest.approx(1e-3) and EDGES[-1] == pytest.approx(1)
    assert energy_correlator(*jet, edges=np.array([0.5, 1.0])).tolist() == [0.0]


def test_jets_that_have_no_substructure():
    """No particle, one, copies of one direction, zero vectors, momenta along the beam: numbers or NaN, no warning."""
    light = np.array([3.0, 4.0, 1.0, math.sqrt(26)])
    zero, forward = np.zeros(4), np.array([0.0, 0.0, 5.0, 5.0])
    jets = [
        np.zeros((0, 4)),
        light[None],
        np.stack([light, light, light]),
        np.stack([light, 3 * light, 0.1 * light, 7 * light]),
        np.zeros((4, 4)),
        np.stack([light, zero, zero]),
        np.stack([forward, forward * [1, 1, -1, 1], forward]),
    ]
    vectors, mask = padded(jets)
    found = observables(vectors, mask)
    assert found["multiplicity"].tolist() == [0, 1, 3, 4, 4, 3, 3]
    for name in ("tau21", "tau32", "d2"):
        assert np.isnan(found[name]).all()
    np.testing.assert_allclose(found["mass"], [0, 0, 0, 0, 0, 0, 10 * math.sqrt(2)], atol=1e-5)
    np.testing.assert_allclose(found["pt"], [0, 5, 15, 55.5, 0, 5, 0], atol=1e-12)
    taus = n_subjettiness(vectors, mask)
    assert np.isnan(taus[[0, 4, 6]]).all()
    np.testing.assert_allclose(taus[[2, 3, 5]], 0, atol=1e-14)
    assert not energy_correlator(vectors, mask).any()


def test_momenta_without_energy():
    """Spacelike vectors, as a network may make them: no warning, finite values, no mass."""
    vectors, mask = prongs((50, 0.1, 0.2), (30, 0.3, 0.1), (20, -0.2, 0.4), (5, 0.0, -0.3))
    vectors[0, 1:3, 3] = 0.0
    vectors[0, 2, 2] = 0.0
    found = observables(vectors, mask)
    assert np.isfinite(list(found.values())).all()
    assert found["mass"][0] == 0 and found["d2"][0] > 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_particles_without_transverse_momentum_change_no_axis(place):
    """A zero vector and a momentum along the beam anywhere among the particles of a jet."""
    vectors, mask = prongs((50, 0.1, 0.2), (30, 0.3, 0.1), (20, -0.2, 0.4), (5, 0.0, -0.3))
    more = np.insert(vectors[0], [place, place + 2], [[0.0, 0, 0, 0], [0.0, 0, 9, 9]], axis=0)[None]
    np.testing.assert_allclose(n_subjettiness(more, np.ones((1, 6), bool)), n_subjettiness(vectors, mask), rtol=1e-12)
    np.testing.assert_allclose(d2(more, np.ones((1, 6), bool)), d2(vectors, mask), rtol=1e-9)


def test_no_jets_and_no_slots():
    for shape in ((0, 5), (3, 0)):
        vectors, mask = np.zeros((*shape, 4)), np.zeros(shape, bool)
        found = observables(vectors, mask)
        assert all(column.shape == (shape[0],) for column in found.values())
        assert not found["mass"].any() and np.isnan(found["d2"]).all()
        assert n_subjettiness(vectors, mask, most=4).shape == (shape[0], 4)
        assert not energy_correlator(vectors, mask).any()
