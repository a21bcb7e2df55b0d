"""L-GATr-slim: outputs of the author's package on weights by a rule, published counts, symmetry."""

import pytest
import torch
from torch import nn

from jetloom.models import build
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.minkowski import with_mass
from jetloom.models.layers.packing import Packing
from jetloom.models.lgatr_slim import LGATrSlim, Streams
from tests.models.check_values import batch, fill, jet, scalars
from tests.models.jets import random_jets
from tests.models.lorentz import about_z, boost, rotation

# lgatr 2.0.0 and 1.4.4: 1 vector and 3 scalars to 2 scalars of each item, 8 vectors, 16 scalars, 2 blocks, 2 heads.
SECOND = [[-0.128472337, -1.09161483], [-0.184760128, -1.07265475], [-0.123939703, -1.13934815],
          [0.00951198605, -1.20512391], [0.0595280852, -1.17863783]]  # fmt: skip
FIRST = [[2.16217098, -3.75440456], [2.07653856, -3.84754315], [2.07464175, -4.01155187],
         [2.17237839, -4.14602628], [2.29266594, -3.9940384]]  # fmt: skip


def tensors(model: LGATrSlim, version: int):
    """In the order of the author's package; shapes of what the last block lacks here."""
    yield from ((x, False) for x in (model.embed_vectors.weight, model.embed_scalars.weight, model.embed_scalars.bias))
    for block in model.blocks:
        last = block.feed_forward.in_vectors is None
        if version == 2:
            for norm in (block.norm1, block.norm2):
                yield norm.vectors if norm.vectors is not None else (8,), True
                yield norm.scalars, True
        attention, inner = block.attention, block.feed_forward
        own = [attention.in_vectors.weight, attention.in_scalars.weight]
        own += [attention.in_scalars.bias] if version == 1 else []
        own += [attention.out_vectors.weight, attention.out_scalars.weight, attention.out_scalars.bias]
        own += [(48, 8) if last else inner.in_vectors.weight, inner.in_scalars.weight, inner.in_scalars.bias]
        own += [(8, 16) if last else inner.out_vectors.weight, inner.out_scalars.weight, inner.out_scalars.bias]
        yield from ((x, False) for x in own)
    yield from ((x, False) for x in (model.head.weight, model.head.bias))


def of_items(model: LGATrSlim, vectors: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """What the head says of each item (1, N, 4) and (1, N, S), without references and global item."""
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    packing, bias = Packing(mask), key_bias(mask)
    x = Streams(model.embed_vectors(packing.pack(vectors)[..., None]), model.embed_scalars(packing.pack(features)))
    for block in model.blocks:
        x = block(x, packing, bias)
    return model.head(x.scalars)


@torch.no_grad()
@pytest.mark.parametrize(("version", "expected"), [(2, SECOND), (1, FIRST)])
def test_outputs_of_the_authors_package(version, expected):
    model = build("lgatr_slim", n_features=2, n_classes=2, vectors=8, scalars=16, blocks=2, heads=2, mlp_ratio=2,
                  version=version).double()  # fmt: skip
    fill(tensors(model, version))
    vectors, features = jet(5)[None] / 20, scalars(5, 3)[None]
    found = of_items(model, vectors, features)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-8)
    generator = torch.Generator().manual_seed(0)
    matrix = rotation(generator) @ boost(torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64), 0.7)
    torch.testing.assert_close(of_items(model, vectors @ matrix.T, features), found, rtol=1e-9, atol=1e-9)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "trainable", "total"),
    [
        ({}, 2_014_401, 2_032_650),
        ({"vectors": 16, "scalars": 64, "blocks": 4, "heads": 4, "mlp_ratio": 2}, 176_897, 180_186),
        ({"vectors": 8, "scalars": 32, "blocks": 2, "heads": 4, "mlp_ratio": 2}, 22_369, 23_506),
        ({"vectors": 4, "scalars": 16, "blocks": 1, "heads": 2, "mlp_ratio": 1}, 2_121, 2_502),
        ({"scalars": 64, "mlp_ratio": 2, "attention_ratio": 2}, 884_097, 893_546),
        ({"size": -2}, 44_929, 46_066),
        ({"size": -1}, 266_049, 269_338),
        ({"size": 0}, 1_410_817, 1_421_482),
        ({"size": 1}, 8_450_049, 8_487_754),
        ({"size": 2}, 47_854_849, 47_995_786),
    ],
)
def test_published_counts(options, trainable, total):
    """Trainable with 7 features and one logit; all, with those of the last block's vectors, with 17 and ten."""
    with torch.device("meta"):
        assert count(build("lgatr_slim", n_features=7, n_classes=1, **options)) == trainable
        model = build("lgatr_slim", n_features=17, n_classes=10, **options)
    vectors = model.embed_vectors.out_features
    ratio = model.blocks[-1].feed_forward.out_scalars.in_features // model.embed_scalars.out_features
    assert count(model) + vectors + 4 * ratio * vectors**2 == total


@torch.no_grad()
def test_without_references_any_transformation_leaves_the_logits_alone():
    torch.manual_seed(1)
    jets = random_jets(4, 12, seed=5)
    momentum = jets.vectors[..., :3].double()
    energy = (momentum.square().sum(-1) + 0.02).sqrt() * jets.mask
    jets = jets._replace(vectors=torch.cat([momentum, energy[..., None]], -1), features=jets.features.double())
    generator = torch.Generator().manual_seed(0)
    matrix = rotation(generator) @ boost(torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64), 0.5)
    for references, transformation, same in (
        (False, matrix, True), (True, matrix, False), (True, about_z(1.0), True),
    ):  # fmt: skip
        model = build("lgatr_slim", n_features=17, n_classes=3, preset="tiny", references=references).double().eval()
        for block in model.blocks:
            block.attention.in_vectors.weight.mul_(10)
            block.attention.in_scalars.weight.mul_(10)
        expected, moved = model(jets), model(jets._replace(vectors=jets.vectors @ transformation.T))
        assert torch.allclose(moved, expected, rtol=1e-7, atol=1e-7) == same


def test_massless_particles_get_the_smallest_mass():
    vectors = torch.tensor([[3.0, 0.0, 4.0, 5.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 4.0, 6.0]], dtype=torch.float64)
    found = with_mass(vectors, 0.5)
    assert torch.equal(found[:, :3], vectors[:, :3])
    torch.testing.assert_close(
        found[:, 3] ** 2 - found[:, :3].square().sum(-1), torch.tensor([0.25, 0.25, 11.0]).double()
    )


def test_it_starts_from_no_bias_and_small_weights_around_the_attention():
    model = build("lgatr_slim", n_features=7, n_classes=2, preset="tiny")
    attention = model.blocks[0].attention
    assert attention.in_scalars.weight.abs().max() <= 0.1 * 32**-0.5
    assert model.embed_scalars.weight.abs().max() > 0.5 * 8**-0.5
    assert not attention.out_scalars.bias.any()


@torch.no_grad()
def test_four_vectors_stay_in_single_precision_under_autocast():
    model, jets = build("lgatr_slim", n_features=3, n_classes=2, preset="tiny").eval(), batch(5, 3)
    jets = jets._replace(features=jets.features.float(), vectors=jets.vectors.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = model.encode(jets).jet
    assert torch.equal(found, model.encode(jets).jet)
