"""PHAT-JeT: outputs of the author code (Keras) on weights by a rule, published counts, the grid against its cells."""

import pytest
import torch
from torch import nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.phat_jet import KERNEL, GridMessages, PhatJet
from tests.models.check_values import fill
from tests.models.jets import random_jets

MEAN = [0.0664836, 0.2709483, -0.1363039, -0.2358243, 0.1970733]
POOLED = [-0.3831316, -0.0153066, 0.3870759, -0.0844386, -0.3653170]


def tensors(model: PhatJet):
    """In the order of the author code, kernels of dense layers as Keras has them, (in, out)."""

    def dense(layer: nn.Linear):
        return [(layer.weight.T, False), (layer.bias, False)]

    def norm(layer: nn.LayerNorm):
        return [(layer.weight, True), (layer.bias, False)]

    [block] = model.blocks
    yield from dense(model.embed)
    yield from [(block.grid.kernel, False), (block.grid.bias, False)]
    yield from [*dense(block.grid.pointwise), *norm(block.grid.norm), *norm(block.norm1)]
    for layer in (block.within.query, block.within.key, block.within.value, block.within.out):
        yield from dense(layer)
    yield from dense(block.tokens.score) if block.tokens.score is not None else ()
    for layer in (block.among.query, block.among.key, block.among.value, block.among.out, block.projection):
        yield from dense(layer)
    yield from dense(block.gate) if block.gate is not None else ()
    yield from [*norm(block.norm2), *dense(block.fc1), *dense(block.fc2), *dense(model.head[0]), *dense(model.head[2])]


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "expected"), [({}, MEAN), ({"tokens": "learned_pool", "gate": True}, POOLED)], ids=["mean", "pooled"]
)
def test_outputs_of_the_author_code(options, expected):
    """Ten particles in patches of four: two zero rows are appended, and take part."""
    model = build("phat_jet", n_features=3, n_classes=5, patch=4, max_particles=10, mask="published", sort="none",
                  **options)  # fmt: skip
    fill(tensors(model))
    i = torch.arange(10.0)
    features = torch.stack([2 - 0.3 * i, 0.5 * torch.sin(1 + 2 * i), 0.4 * torch.cos(2 + 3 * i)], -1)[None]
    batch = Batch(features, None, features[..., 1:], torch.ones(1, 10, dtype=torch.bool))
    torch.testing.assert_close(model.eval()(batch)[0], torch.tensor(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "classes", "expected"),
    [
        ({}, 5, 6_405),
        ({"tokens": "learned_pool", "gate": True}, 5, 6_694),
        ({"gate": True}, 5, 6_677),
        ({"tokens": "learned_pool"}, 5, 6_422),
        ({}, 1, 6_337),
        ({}, 10, 6_490),
    ],
)
def test_published_counts(options, classes, expected):
    model = build("phat_jet", n_features=3, n_classes=classes, preset="hls4ml", **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@torch.no_grad()
def test_messages_are_a_convolution_over_the_cells_of_a_grid():
    """TensorFlow's SAME for an even kernel: three cells before, four behind; particles of a cell are added."""
    torch.manual_seed(0)
    layer = GridMessages(6, 0.25)
    layer.pointwise, layer.norm = nn.Identity(), nn.Identity()
    layer.bias.normal_()
    h, coordinates = torch.randn(3, 12, 6), torch.rand(3, 12, 2) * 4 - 2
    coordinates[:, 1] = coordinates[:, 0]
    mask = torch.arange(12) < torch.tensor([[12], [7], [1]])
    found = layer(h, coordinates, mask)
    for jet in range(3):
        real = mask[jet]
        cells = ((coordinates[jet] - coordinates[jet][real].amin(0)) / 0.25).floor().long()
        grid = torch.zeros(6, 17, 17)
        for particle in range(int(real.sum())):
            grid[:, cells[particle, 0], cells[particle, 1]] += h[jet, particle]
        padded = nn.functional.pad(grid, (3, KERNEL - 4, 3, KERNEL - 4))
        image = nn.functional.conv2d(padded, layer.kernel.permute(2, 0, 1)[:, None], layer.bias, groups=6)
        expected = image[:, cells[real, 0], cells[real, 1]].T
        torch.testing.assert_close(found[jet, real], expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("tokens", ["mean", "max", "learned_pool"])
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_padding_takes_part_where_it_is_published_and_only_there(tokens, pool):
    torch.manual_seed(0)
    jets = random_jets(6, 24, seed=2)
    for mask, same in (("real", True), ("published", False)):
        options = {"tokens": tokens, "pool": pool, "mask": mask, "patch": 5, "grid": "jet", "cell": 0.1}
        short, long = (
            build("phat_jet", n_features=17, n_classes=4, max_particles=length, **options).eval() for length in (24, 32)
        )
        long.load_state_dict(short.state_dict())
        assert torch.allclose(short(jets), long(jets), rtol=1e-5, atol=1e-6) == same


def test_a_grid_of_features_that_are_not_there_is_one_line():
    with pytest.raises(JetloomError, match=r"published_columns: expected those of pT, eta and phi among 2 features"):
        build("phat_jet", n_features=2, n_classes=2)
