"""LorentzNet: invariance, and the equations against a loop over pairs."""

import math

import pytest
import torch

from jetloom.models import build
from jetloom.models.lorentznet import product, squash
from tests.models.jets import random_jets


def boost(direction: torch.Tensor, rapidity: float) -> torch.Tensor:
    """(4, 4) Lorentz boost of px, py, pz, E along a unit vector."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] += (math.cosh(rapidity) - 1) * torch.outer(direction, direction)
    matrix[:3, 3] = matrix[3, :3] = math.sinh(rapidity) * direction
    matrix[3, 3] = math.cosh(rapidity)
    return matrix


def rotation(generator: torch.Generator) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    rows, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    matrix[:3, :3] = rows * torch.linalg.det(rows).sign()
    return matrix


def about_z(angle: float) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[1, 0], matrix[0, 1] = math.sin(angle), -math.sin(angle)
    return matrix


def jets():
    """Double-precision jets with masses that do not suffer from single-precision input."""
    batch = random_jets(4, 12, seed=5)
    momentum = batch.vectors[..., :3].double() / 50
    energy = (momentum.square().sum(-1) + 0.02).sqrt() * batch.mask
    return batch._replace(vectors=torch.cat([momentum, energy[..., None]], -1), features=batch.features.double())


def trained_a_little(**options):
    """Coordinates really move: their last layer starts near zero and is scaled up here."""
    torch.manual_seed(1)
    model = build("lorentznet", n_features=17, n_classes=3, width=12, blocks=3, step=0.05, **options).double().eval()
    with torch.no_grad():
        for block in model.blocks:
            block.edge_norm.running_mean.normal_(std=0.2)
            block.node_norm.running_var.uniform_(0.5, 2)
            if block.vector2 is not None:
                block.vector2.weight.normal_(std=0.5)
    return model


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_any_lorentz_transformation_without_beams(dtype):
    generator = torch.Generator().manual_seed(0)
    model, batch = trained_a_little(beams=False), jets()
    expected = model(batch)
    for rapidity in (0.3, 1.0):
        axis = torch.nn.functional.normalize(torch.randn(3, dtype=torch.float64, generator=generator), dim=0)
        matrix = rotation(generator) @ boost(axis, rapidity) @ rotation(generator)
        moved = batch._replace(vectors=(batch.vectors @ matrix.t()).to(dtype), features=batch.features.to(dtype))
        actual = model.to(dtype)(moved)
        model.double()
        tolerance = 1e-9 if dtype == torch.float64 else 1e-3
        torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_only_symmetries_of_the_beam_with_beams(dtype):
    """The beams lie along z: rotations about z leave them alone, boosts along z and tilts do not."""
    model, batch = trained_a_little(beams=True), jets()
    expected = model(batch)
    turned = batch._replace(vectors=(batch.vectors @ about_z(1.1).t()).to(dtype), features=batch.features.to(dtype))
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(model.to(dtype)(turned).double(), expected, rtol=tolerance, atol=tolerance)
    if dtype == torch.float64:
        tilt = rotation(torch.Generator().manual_seed(3))
        boosted = boost(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 1.0)
        for matrix in (tilt, boosted):
            moved = batch._replace(vectors=batch.vectors @ matrix.t())
            assert (model(moved) - expected).abs().max() > 1e-5


@torch.no_grad()
def test_boost_along_the_beams_takes_the_beams_with_it():
    """Jets and beams boosted along z together: the same logits. The model's own beams stand still."""
    model, batch = trained_a_little(beams=True), jets()
    expected = model(batch)
    matrix = boost(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 0.7) @ about_z(0.4)
    original = model.particles

    def moved(batch):
        vectors, scalars, mask = original(batch)
        return vectors @ matrix.t(), scalars, mask

    model.particles = moved
    torch.testing.assert_close(model(batch), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_block_against_a_loop_over_pairs():
    model, batch = trained_a_little(beams=True), jets()
    block = model.blocks[0]
    vectors, scalars, mask = model.particles(batch)
    assert vectors[0, 0].tolist() == [0, 0, 1, math.sqrt(2)] and vectors[0, 1].tolist() == [0, 0, -1, math.sqrt(2)]
    torch.testing.assert_close(scalars[0, 0], torch.tensor([math.log(2), 0.0], dtype=torch.float64))
    jet = 1
    real = int(mask[jet].sum())
    x, s = vectors[jet, :real], scalars[jet, :real]
    h = model.embed(s)
    new_h, new_x = [], []
    for i in range(real):
        total, shift = torch.zeros(12, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        for j in range(real):
            if i == j:
                continue
            between = x[i] - x[j]
            norms = torch.stack([squash(product(between, between)), squash(product(x[i], x[j]))])
            edge = block.edge1(torch.cat([h[i], h[j], norms]))
            norm = block.edge_norm
            edge = (edge - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            message = block.edge2(edge.relu()).relu()
            message = message * torch.sigmoid(block.weight(message))
            total += message
            shift += (between * block.vector2(block.vector1(message).relu())).clamp(-100, 100)
        update = block.node1(torch.cat([h[i], total, s[i]]))
        norm = block.node_norm
        update = (update - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        new_h.append(h[i] + block.node2(update.relu()))
        new_x.append(x[i] + 0.05 * shift / (real - 1))
    found = {}
    block.register_forward_hook(lambda module, inputs, output: found.update(h=output[0], x=output[1]))
    model(batch)
    torch.testing.assert_close(found["h"][jet, :real], torch.stack(new_h))
    torch.testing.assert_close(found["x"][jet, :real], torch.stack(new_x))


@torch.no_grad()
def test_answer_does_not_depend_on_the_other_jets():
    """The author code divides by the padded length of the batch; ours by the jet's own number of particles."""
    model, batch = trained_a_little(), jets()
    for jet in range(4):
        alone = type(batch)(*(value[jet : jet + 1] for value in batch))
        torch.testing.assert_close(model(alone), model(batch)[jet : jet + 1])
