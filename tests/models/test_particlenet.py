"""ParticleNet against weaver-core and against a search for neighbours by hand."""

import pytest
import torch

from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers import Packing
from jetloom.models.particlenet import nearest_neighbours
from tests.models.jets import random_jets
from tests.models.weaver_peer import ask

SIZES = {
    "particlenet": ([[16, [64, 64, 64]], [16, [128, 128, 128]], [16, [256, 256, 256]]], [[256, 0.1]]),
    "particlenet_lite": ([[7, [32, 32, 32]], [7, [64, 64, 64]]], [[128, 0.1]]),
}


def ask_particlenet(directory, name, batch, **request):
    convolutions, layers = SIZES[name]
    return ask(
        directory,
        module="weaver.nn.model.ParticleNet",
        name="ParticleNet",
        arguments={
            "input_dims": batch.features.shape[-1],
            "num_classes": 10,
            "conv_params": convolutions,
            "fc_params": layers,
            "use_fusion": False,
            "use_fts_bn": True,
            "use_counts": True,
        }
        | ({"trim": False} if directory is None else {}),  # 0.4 never trims here and has no such argument
        inputs=(batch.coordinates.transpose(1, 2), batch.features.transpose(1, 2), batch.mask[:, None]),
        label=batch.label,
        **request,
    )


@pytest.mark.parametrize(("name", "number"), [("particlenet", 370_156), ("particlenet_lite", 28_428)])
def test_parameters(name, number):
    model = build(name, n_features=17, n_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == number


@pytest.mark.parametrize(
    ("name", "features", "steps", "shortest"),
    [
        ("particlenet", 17, 0, 20),
        ("particlenet", 17, 10, 20),
        ("particlenet", 7, 0, 3),  # with missing neighbours
        ("particlenet_lite", 13, 0, 3),
        ("particlenet_lite", 17, 10, 20),
    ],
)
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_parity(request, version, name, features, steps, shortest):
    """Same weights, same jets, same logits as the authors' code, fresh and after ten steps of training."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    batch = random_jets(6, 32, n_features=features, shortest=shortest, seed=5)
    answer = ask_particlenet(directory, name, batch, noise=0.0 if steps else 0.02, steps=steps)
    model = build(name, n_features=features, n_classes=10)
    model.load_state_dict(answer["state"])
    with torch.no_grad():
        logits = model.eval()(batch)
    assert answer["logits"].std() > 0.02
    torch.testing.assert_close(logits, answer["logits"], rtol=1e-5, atol=1e-5)


def test_neighbours_by_hand():
    """On a line at 0, 1, 3, 7 in the second jet; the first has two particles, so most neighbours are missing."""
    points = torch.tensor([[0.0, 5.0, 9.0, 9.0], [0.0, 1.0, 3.0, 7.0]])[..., None]
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    rows = nearest_neighbours(points, Packing(mask), 2).sort(1).values
    assert rows.tolist() == [[1, 6], [0, 6], [3, 4], [2, 4], [2, 3], [3, 4]]


def test_particles_at_one_place_are_neighbours_of_each_other():
    rows = nearest_neighbours(torch.zeros(1, 3, 2), Packing(torch.ones(1, 3, dtype=torch.bool)), 2)
    assert rows.sort(1).values.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_mistake():
    with pytest.raises(JetloomError, match="neighbours = 0"):
        build("particlenet", n_features=7, n_classes=2, neighbours=0)
