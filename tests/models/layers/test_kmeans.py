"""k-means against scipy, scikit-learn and brute force."""

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from sklearn.cluster import KMeans

from jetloom.models.layers.kmeans import improved, kmeans, nearest, spread_out


def points(number: int = 3000, seed: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    middles = rng.normal(0, 2, (20, 3))
    return torch.from_numpy((middles[rng.integers(0, 20, number)] + rng.normal(0, 0.5, (number, 3))).astype(np.float32))


def inertia(some: torch.Tensor, centres: torch.Tensor) -> float:
    return torch.cdist(some.double(), centres.double()).square().amin(1).sum().item()


def test_the_nearest_centre_is_that_of_brute_force(monkeypatch):
    some, centres = points(), points(64, seed=2)
    distance = torch.cdist(some.double(), centres.double())
    found = nearest(some, centres)
    taken = distance.gather(1, found[:, None])[:, 0]
    torch.testing.assert_close(taken, distance.amin(1), atol=1e-5, rtol=1e-5)
    assert (found == distance.argmin(1)).float().mean() > 0.999
    monkeypatch.setattr("jetloom.models.layers.kmeans.ROWS", 100)
    assert torch.equal(nearest(some, centres), found)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(some, centres), found)
    order = torch.randperm(len(some))
    assert torch.equal(nearest(some[order], centres), found[order])
    assert len(nearest(some[:0], centres)) == 0


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_each_step_is_scipys(iterations):
    some = points()
    start = some[:32].clone()
    expected, _ = kmeans2(some.numpy(), start.numpy(), iter=iterations, minit="matrix")
    np.testing.assert_allclose(improved(some, start, iterations).numpy(), expected, atol=1e-4)


def test_as_good_as_scikit_learn():
    some = points()
    peer = KMeans(32, init="k-means++", n_init=1, random_state=0, max_iter=25).fit(some.numpy())
    assert inertia(some, kmeans(some, 32, seed=1)) < 1.1 * peer.inertia_
    random = inertia(some, some[:32])
    start = spread_out(some, 32, seed=1)
    assert inertia(some, start) < random, "points far from each other are a better start than any"
    assert inertia(some, kmeans(some, 32, seed=1)) < 0.8 * inertia(some, start)


def test_the_seed_decides():
    some = points()
    assert torch.equal(kmeans(some, 16, seed=1), kmeans(some, 16, seed=1))
    assert not torch.equal(kmeans(some, 16, seed=1), kmeans(some, 16, seed=2))


def test_a_centre_without_points_goes_where_one_is_missing():
    some = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [9.0, 0, 0]])
    far = torch.tensor([[0.0, 0, 0], [100.0, 0, 0]])
    found = improved(some, far, 10)
    assert sorted(found[:, 0].tolist()) == pytest.approx([0.05, 9.0])


def test_fewer_places_than_centres():
    some = torch.zeros(10, 3)
    found = kmeans(some, 4, seed=1)
    assert found.shape == (4, 3) and not found.any()
