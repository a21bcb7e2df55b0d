"""LorentzNet: invariance, and the equations against a loop over pairs."""

import math

import numpy
import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.models import build, load_published
from jetloom.models.layers.minkowski import product
from jetloom.models.lorentznet import squash
from tests.models.jets import random_jets, tower_jets
from tests.models.lorentz import about_z, boost, rotation


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
    torch.testing.assert_close(scalars[0, 0], torch.tensor([0.0, math.log(2)], dtype=torch.float64))
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
        alone = batch.map(lambda value, jet=jet: value[jet : jet + 1])
        torch.testing.assert_close(model(alone), model(batch)[jet : jet + 1])


AUTHORS = {
    "embed": "embedding", "edge1": "phi_e.0", "edge_norm": "phi_e.1", "edge2": "phi_e.3", "weight": "phi_m.0",
    "node1": "phi_h.0", "node_norm": "phi_h.1", "node2": "phi_h.3", "vector1": "phi_x.0", "vector2": "phi_x.2",
}  # fmt: skip


def authors_names(state):
    """A state dict of ours under the names of the published checkpoints."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("head."):
            renamed[f"module.graph_dec.{name.removeprefix('head.')}"] = value.clone()
            continue
        *block, layer, kind = name.split(".")
        inside = f"LGEBs.{block[1]}." if block else ""
        renamed[f"module.{inside}{AUTHORS[layer]}.{kind}"] = value.clone()
    return renamed


def published_logits(state, vectors):
    """The paper's equations for one jet, from a published state dict: four-vectors (R, 4) as E, px, py, pz, raw GeV."""
    metric = numpy.diag([1.0, -1.0, -1.0, -1.0])
    value = {name.removeprefix("module."): item.double().numpy() for name, item in state.items()}

    def linear(name, x):
        y = x @ value[f"{name}.weight"].T
        return y + value[f"{name}.bias"] if f"{name}.bias" in value else y

    def norm(name, x):
        mean, variance, scale, shift = (
            value[f"{name}.{item}"] for item in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / numpy.sqrt(variance + 1e-5) * scale + shift

    def relu(x):
        return numpy.maximum(x, 0)

    def psi(x):
        return numpy.sign(x) * numpy.log(numpy.abs(x) + 1)

    beams = numpy.array([[2**0.5, 0, 0, 1], [2**0.5, 0, 0, -1]])
    x = numpy.concatenate([beams, vectors])
    mass = numpy.sqrt(numpy.abs(numpy.einsum("im,mn,in->i", x, metric, x)))
    beam = numpy.arange(len(x)) < 2
    scalars = psi(numpy.stack([mass * ~beam, mass * beam], 1))  # the particle's mass first
    h = linear("embedding", scalars)
    number = len(x)
    i, j = (~numpy.eye(number, dtype=bool)).nonzero()
    for block in range(6):
        name = f"LGEBs.{block}"
        between = x[i] - x[j]
        products = [numpy.einsum("em,mn,en->e", *pair) for pair in ((between, metric, between), (x[i], metric, x[j]))]
        edge = numpy.concatenate([h[i], h[j], psi(numpy.stack(products, 1))], 1)
        message = relu(linear(f"{name}.phi_e.3", relu(norm(f"{name}.phi_e.1", linear(f"{name}.phi_e.0", edge)))))
        message *= 1 / (1 + numpy.exp(-linear(f"{name}.phi_m.0", message)))
        total = numpy.zeros_like(h)
        numpy.add.at(total, i, message)
        if block < 5:
            shift = between * linear(f"{name}.phi_x.2", relu(linear(f"{name}.phi_x.0", message)))
            moved = numpy.zeros_like(x)
            numpy.add.at(moved, i, numpy.clip(shift, -100, 100))
            x = x + 1e-3 * moved / (number - 1)
        update = linear(f"{name}.phi_h.0", numpy.concatenate([h, total, scalars], 1))
        h = h + linear(f"{name}.phi_h.3", relu(norm(f"{name}.phi_h.1", update)))
    return linear("graph_dec.3", relu(linear("graph_dec.0", h.mean(0))))


def published_size():
    """The published network for top tagging, 224,072 parameters, with weights and statistics that look trained."""
    torch.manual_seed(2)
    model = build("lorentznet", n_features=7, n_classes=2, step=1e-3)
    model.load_state_dict(
        {
            name: torch.rand_like(value) + 0.5
            if name.endswith("running_var")
            else value + 0.05 * torch.randn_like(value)
            if value.is_floating_point()
            else value
            for name, value in model.state_dict().items()
        }
    )
    return model.eval()


@torch.no_grad()
def test_published_checkpoint(tmp_path):
    """Under the authors' names and in their order of scalars; towers at one place and jets of one particle included."""
    source = published_size()
    state = authors_names(source.state_dict())
    assert state["module.LGEBs.0.phi_e.0.weight"].shape == (72, 146)
    assert state["module.LGEBs.5.phi_h.0.weight"].shape == (72, 146)
    assert "module.LGEBs.5.phi_x.0.weight" not in state
    torch.save(state, tmp_path / "best-val-model.pt")
    model = build("lorentznet", n_features=7, n_classes=2, preset="top", step=1e-3).eval()
    assert "224,072 parameters" in load_published(model, tmp_path / "best-val-model.pt")
    batch = tower_jets(5, 16)
    batch = batch._replace(vectors=batch.vectors.double())
    logits = model.double()(batch)
    assert logits.std() > 0.01
    for jet, real in enumerate(batch.mask.sum(1).tolist()):
        vectors = batch.vectors[jet, :real, [3, 0, 1, 2]].numpy()
        expected = torch.from_numpy(published_logits(state, vectors))
        torch.testing.assert_close(logits[jet], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name", r"it lacks blocks.0.edge1.weight and it has unknown blocks.0.phi_q.0.weight"),
        ("shape", r"embed.weight is 72x8 in the file and 72x2 in the model"),
        ("fewer", r"it lacks blocks.5.edge1.weight"),
    ],
)
def test_refuses_other_checkpoints(change, message, tmp_path):
    state = authors_names(build("lorentznet", n_features=7, n_classes=2).state_dict())
    if change == "name":
        state["module.LGEBs.0.phi_q.0.weight"] = state.pop("module.LGEBs.0.phi_e.0.weight")
    elif change == "shape":
        state["module.embedding.weight"] = torch.zeros(72, 8)
    else:
        state = {name: value for name, value in state.items() if "LGEBs.5" not in name}
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(JetloomError, match=message) as error:
        load_published(build("lorentznet", n_features=7, n_classes=2), tmp_path / "model.pt")
    assert "\n" not in str(error.value)
