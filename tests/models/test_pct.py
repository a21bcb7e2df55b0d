"""PCT and Simple PCT against their description, one jet at a time."""

import numpy
import pytest
import torch
from torch.nn import functional

from jetloom.models import build
from jetloom.models.layers.packing import Packing
from jetloom.models.pct import EdgeConvolution, OffsetAttention
from tests.models.jets import random_jets, tower_jets


def settled(module: torch.nn.Module) -> torch.nn.Module:
    """Evaluation mode, running statistics not at their initial values."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.normal_(std=0.3)
            part.running_var.uniform_(0.5, 2)
    return module.eval()


@torch.no_grad()
def test_offset_attention():
    layer = settled(OffsetAttention(16))
    batch = random_jets(4, 14)
    packing = Packing(batch.mask)
    x = torch.randn(4, 14, 16)
    actual = packing.unpack(layer(packing.pack(x), packing))
    for jet, real in enumerate(batch.mask.sum(1).tolist()):
        rows = x[jet, :real]
        query, key, value = layer.query(rows), layer.key(rows), layer.value(rows)
        assert query.shape[1] == 4 and value.shape[1] == 16
        weights = (query @ key.t()).softmax(1)
        weights = weights / weights.sum(0, keepdim=True)
        out = torch.stack([sum(value[i] * weights[i, j] for i in range(real)) for j in range(real)])
        offset = layer.out.norm(layer.out.linear(rows - out))
        torch.testing.assert_close(actual[jet, :real], rows + functional.relu(offset), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("neighbours", [3, 50])
def test_edge_convolution(neighbours):
    layer = settled(EdgeConvolution(5, 8, neighbours))
    batch = random_jets(4, 14, shortest=2)
    packing = Packing(batch.mask)
    x = torch.randn(4, 14, 5)
    actual = packing.unpack(layer(packing.pack(x), batch.coordinates, packing))
    for jet, real in enumerate(batch.mask.sum(1).tolist()):
        places = batch.coordinates[jet]
        for i in range(real):
            others = sorted(
                (j for j in range(real) if j != i), key=lambda j: ((places[i] - places[j]) ** 2).sum().item()
            )[:neighbours]
            edges = torch.stack([torch.cat([x[jet, i], x[jet, j] - x[jet, i]]) for j in others])
            torch.testing.assert_close(actual[jet, i], layer.second(layer.first(edges)).mean(0), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("neighbours", [3, 20, 50])
def test_published_neighbours_of_towers(neighbours):
    """The k smallest distances, the particle itself among them; of equal ones that with the lower slot (TensorFlow)."""
    layer = settled(EdgeConvolution(7, 8, neighbours, "published"))
    batch = tower_jets(6, 41)
    packing = Packing(batch.mask)
    actual = packing.unpack(layer(packing.pack(batch.features), batch.coordinates, packing))
    places = batch.coordinates.numpy()
    ties = 0
    for jet, real in enumerate(batch.mask.sum(1).tolist()):
        product = torch.from_numpy(places[jet] @ places[jet].T).numpy()
        square = (places[jet] ** 2).sum(1)
        distance = (square[:, None] - 2 * product) + square
        for i in range(real):
            row = distance[i, :real]
            nearest = numpy.argsort(row, kind="stable")[:neighbours]
            ties += len(row) > neighbours and (row == row[nearest[-1]]).sum() > 1
            x = batch.features[jet]
            edges = torch.stack([torch.cat([x[i], x[j] - x[i]]) for j in nearest])
            torch.testing.assert_close(actual[jet, i], layer.second(layer.first(edges)).mean(0), rtol=1e-4, atol=1e-5)
    assert ties > 5 or neighbours > 41
    assert build("pct", n_features=7, n_classes=2).edges[1].knn == "published"


@torch.no_grad()
def test_lone_particle_is_its_own_neighbour():
    model = settled(build("pct", n_features=17, n_classes=3, preset="tiny"))
    batch = random_jets(2, 6, full=True)
    alone = batch._replace(mask=torch.arange(6).expand(2, 6) == 0)
    assert model(alone).isfinite().all() and (model(alone)[0] - model(alone)[1]).abs().max() > 1e-6


def test_statistics_come_from_real_particles():
    """One training step changes the running statistics alike, whatever the padding."""
    means = []
    for width in (24, 60):
        torch.manual_seed(0)
        model = build("simple_pct", n_features=17, n_classes=3, preset="tiny").train()
        batch = random_jets(8, 24)
        pad = width - 24
        wide = batch._replace(
            features=functional.pad(batch.features, (0, 0, 0, pad), value=7.0),
            coordinates=functional.pad(batch.coordinates, (0, 0, 0, pad)),
            mask=functional.pad(batch.mask, (0, pad)),
        )
        model(wide)
        means.append(model.layers[0].norm.running_mean)
    torch.testing.assert_close(*means)
