"""ParMAT against a loop over windows, and what its options promise."""

import numpy
import pytest
import torch
from torch.nn.functional import gelu, layer_norm, linear

from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.packing import Packing
from jetloom.models.parmat import group, rank_in_jet
from tests.models.jets import permuted, random_jets, random_points, resized, tower_jets

SMALL = {"embedding": [32, 32], "pair_embedding": [8], "blocks": 2, "class_blocks": 1, "heads": 4, "group_size": 4}


def small(**options):
    torch.manual_seed(0)
    model = build("parmat", n_features=17, n_classes=10, **(SMALL | {"max_particles": 32} | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        model.train()(random_jets(8, 24, seed=9))
    return model.eval()


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({}, 5_317_758),
        ({"parallel": True}, 5_317_758),
        ({"relative_position": False}, 5_317_758 - 16 * 15 * 8),
        # 8 blocks lose 4 (128 * 128 + 128), the pair embedding goes with the attention it serves.
        ({"full_attention": False}, 5_317_758 - 8 * 4 * 128 * 129 - 9_568),
    ],
)
def test_parameters(options, number):
    model = build("parmat", n_features=17, n_classes=10, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == number


def members(axis):
    """(W, P) the packed row in each slot; row 0 in empty ones."""
    rows = torch.arange(len(axis.place), dtype=torch.float64)[:, None]
    return axis.spread(rows)[..., 0].long()


def test_empty_slots_hold_no_particle_and_pass_on_no_gradient():
    """As many ways into the groups as particles, and each one way out again."""
    batch = random_jets(3, 20, seed=2)
    x = torch.randn(int(batch.mask.sum()), 5, requires_grad=True)
    for number in (None, 16):
        axis = group(rank_in_jet(batch, "pt"), Packing(batch.mask), 8, number)
        spread = axis.spread(x)
        assert (spread[~axis.filled] == 0).all() and (~axis.filled).any()
        assert torch.equal(axis.collected(spread), x)
        upstream = torch.randn_like(spread)
        (gradient,) = torch.autograd.grad(spread, x, upstream)
        assert torch.equal(gradient, axis.collected(upstream))


def test_groups_of_the_authors_code():
    """At 128 particles: 16 block groups of 8 in a row, 16 grid groups with stride 16."""
    batch = random_jets(2, 128, full=True)
    packing = Packing(batch.mask)
    rank = rank_in_jet(batch, "input")
    block, grid = (group(rank, packing, 8, number) for number in (None, 16))
    slots = torch.arange(128)
    assert torch.equal(members(block)[:16], slots.view(16, 8))
    assert torch.equal(members(grid)[:16], slots.view(8, 16).t())
    assert torch.equal(members(grid)[16:], slots.view(8, 16).t() + 128)
    for axis in (block, grid):
        assert axis.filled.all()
        assert torch.equal(members(axis).flatten()[axis.place], torch.arange(256))


@pytest.mark.parametrize(("particles", "width"), [(5, 20), (100, 128), (40, 64), (300, 300)])
def test_groups_of_any_length(particles, width):
    """Every real particle has one place, groups keep to one jet, and none is empty."""
    batch = random_jets(3, particles, seed=2)
    batch = resized(batch, width)
    packing = Packing(batch.mask)
    jet = torch.arange(3)[:, None].expand_as(batch.mask)[batch.mask]
    for number in (None, 16):
        axis = group(rank_in_jet(batch, "pt"), packing, 8, number)
        assert axis.filled.any(1).all()
        assert axis.filled.sum() == batch.mask.sum()
        assert torch.equal(members(axis).flatten()[axis.place], torch.arange(len(jet)))
        assert axis.filled.flatten()[axis.place].all()
        owner = jet[members(axis)].masked_fill(~axis.filled, -1)
        assert ((owner == owner.max(1, keepdim=True).values) | ~axis.filled).all()


def loop_over_groups(layer, x, groups, heads):
    """One jet (n, D) through a group layer, head by head and particle by particle, in float64."""
    width = x.shape[1]
    normal = layer_norm(x, (width,), layer.attention_norm.weight, layer.attention_norm.bias)
    query, key, value = linear(normal, layer.query_key_value.weight, layer.query_key_value.bias).chunk(3, -1)
    out = torch.zeros_like(x)
    for members in groups:
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            for place, row in enumerate(members):
                scores = torch.stack([query[row, part] @ key[other, part] for other in members])
                scores = scores * (width // heads) ** -0.5
                distance = place - torch.arange(len(members))
                scores = scores + layer.relative_position[distance + 3, head]
                out[row, part] = scores.softmax(0) @ value[members, part]
    x = x + linear(out, layer.out_proj.weight, layer.out_proj.bias)
    hidden = layer_norm(x, (width,), layer.ffn_norm.weight, layer.ffn_norm.bias)
    first, last = layer.ffn[0], layer.ffn[2]
    return x + linear(gelu(linear(hidden, first.weight, first.bias)), last.weight, last.bias)


@torch.no_grad()
def test_layers_against_loops():
    """Block groups: ranks 4 g ... 4 g + 3; grid groups at most 32 particles: ranks g, g + 8, g + 16, g + 24."""
    block = small().double().blocks[0]
    batch = random_jets(1, 22)
    x = torch.randn(22, 32, dtype=torch.float64)
    rank, packing = rank_in_jet(batch, "pt"), Packing(batch.mask)
    rows = list(range(22))
    for layer, groups, number in (
        (block.block, [rows[start : start + 4] for start in range(0, 22, 4)], None),
        (block.grid, [rows[start::8] for start in range(8)], 8),
    ):
        actual = layer(x, group(rank, packing, 4, number))
        torch.testing.assert_close(actual, loop_over_groups(layer, x, groups, 4), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_serial_and_parallel_differ():
    batch = random_jets(4, 24)
    serial, parallel = small(), small(parallel=True)
    parallel.load_state_dict(serial.state_dict())
    assert (serial(batch) - parallel(batch)).abs().max() > 1e-3


VARIANTS = [
    {"parallel": True},
    {"full_attention": False},
    {"relative_position": False},
]


@torch.no_grad()
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_padding_and_order_of_variants(options):
    model, batch = small(**options), random_jets(4, 24)
    expected = model(batch)
    for other in (resized(batch, 32), resized(batch, 50), permuted(batch)):
        torch.testing.assert_close(model(other), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_order_of_the_input():
    model, batch = small(sort="input"), random_jets(4, 24)
    assert model.ordered
    assert (model(permuted(batch)) - model(batch)).abs().max() > 1e-4
    torch.testing.assert_close(model(batch), small()(batch))  # these jets come sorted by pT


def test_mistakes():
    with pytest.raises(JetloomError, match="four-vectors"):
        build("parmat", n_features=3, n_classes=10, **SMALL)(random_points())
    with pytest.raises(JetloomError, match="heads = 5 does not divide the width 32"):
        small(heads=5)
    with pytest.raises(JetloomError, match="group_size = 0"):
        small(group_size=0)


def test_equal_momenta_are_ranked_by_slot():
    batch = tower_jets(6, 41)
    momenta = batch.vectors[..., :2].square().sum(-1).sqrt()
    rank = rank_in_jet(batch, "pt")
    for jet, real in enumerate(batch.mask.sum(1).tolist()):
        order = numpy.argsort(-momenta[jet, :real].numpy(), kind="stable")
        assert rank[jet, order].tolist() == list(range(real))
        assert real < 10 or len(momenta[jet, :real].unique()) < real
