"""PELICAN and PELICAN nano: outputs of the authors' code on weights by a rule, pelican-lite, counts, symmetry."""

import copy

import pytest
import torch
from torch.nn.functional import batch_norm, cross_entropy, leaky_relu, linear

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.network import Network
from tests.models.agreement import in_double, kernels_give_the_formulas, largest_tensor
from tests.models.check_values import fill, jet
from tests.models.jets import random_jets, with_padding
from tests.models.lorentz import about_z, boost, rotation

SMALL = {"width": 6, "inner": 4, "of_scalars": 3, "blocks": 2, "readout": 5}


def two_jets() -> Batch:
    """Five particles, and the first three of them."""
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    zeros = torch.zeros(2, 5, 3, dtype=torch.float64)
    return Batch(zeros, jet(5)[None].repeat(2, 1, 1), zeros[..., :2], mask)


def count(model: Network) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def tensors(model: Network):
    """In the order of the check values."""

    def message(layer):
        yield from ((layer.linear.weight, False), (layer.linear.bias, False))
        yield from ((layer.norm.weight, True), (layer.norm.bias, False))

    yield from ((x, False) for x in (model.encoder.linear.bias, model.encoder.linear.weight, model.encoder.alpha))
    for block in model.blocks:
        yield from message(block.message)
    for block in (block.maps for block in model.blocks):
        own = (block.a, block.e, block.first, block.second, block.bias, block.diagonal_bias, block.alpha)
        yield from ((x, False) for x in own)
    yield from message(model.last_message)
    last = model.head[-1]
    layers = [model.to_jet.coefficients, model.to_jet.bias, model.to_jet.alpha, last.weight, last.bias]
    if model.embed is not None:
        layers += [model.embed.coefficients, model.embed.bias, model.embed.alpha]
    yield from ((x, False) for x in layers)


@torch.no_grad()
@pytest.mark.parametrize(
    ("references", "parameters", "expected"),
    [
        (True, 745, [[0.0783436448, -0.00385879989], [0.0763188691, -0.00389969341]]),
        (False, 691, [[0.0764694895, -0.00390541427], [0.0718945203, -0.00400521803]]),
    ],
)
def test_outputs_of_the_author_code(references, parameters, expected):
    model = build("pelican", n_features=3, n_classes=2, references=references, **SMALL).double().eval()
    assert count(model) == parameters
    fill(tensors(model))
    found = model(two_jets())
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-11)


@torch.no_grad()
@pytest.mark.parametrize(("hidden", "expected"), [(1, [-0.296059845, -0.292601411]), (2, [-0.296060958, -0.292602102])])
def test_outputs_of_the_author_code_of_nano(hidden, expected):
    model = build("pelican_nano", n_features=3, n_classes=2, hidden=hidden, beams=False).double().eval()
    own = (model.coefficients, model.bias, model.diagonal_bias, model.head.weight, model.head.bias)
    fill((x, False) for x in own)
    found = model(two_jets())
    torch.testing.assert_close(found[:, 1], torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-9)
    assert torch.equal(found[:, 0], -found[:, 1])


@pytest.mark.parametrize(
    ("preset", "features", "classes", "options", "expected"),
    [
        ("top", 7, 2, {}, 208_797),
        ("top", 7, 2, {"references": False}, 208_652),
        ("top_48k", 7, 2, {}, 48_482),
        ("top_24k", 7, 2, {}, 26_494),
        ("top_11k", 7, 2, {}, 11_347),
        ("top_6k", 7, 2, {}, 5_933),
        ("top_3k", 7, 2, {}, 3_510),
        ("jetclass", 12, 10, {}, 210_521),
        ("jetclass_large", 12, 10, {}, 404_919),
    ],
)
def test_published_counts(preset, features, classes, options, expected):
    assert count(build("pelican", n_features=features, n_classes=classes, preset=preset, **options)) == expected


@pytest.mark.parametrize(("hidden", "plain", "normed"), [(1, 11, 15), (2, 21, 27), (3, 31, 39), (5, 51, 63),
                                                         (10, 101, 123)])  # fmt: skip
def test_published_counts_of_nano(hidden, plain, normed):
    for norm, expected in ((False, plain), (True, normed)):
        assert count(build("pelican_nano", n_features=7, n_classes=2, hidden=hidden, norm=norm)) == expected


PEER_2_TO_2 = [0, 1, 2, 4, 3, 5, 8, 7, 6, 10, 9, 11, 12, 13, 14]
PEER_1_TO_2 = [0, 2, 1, 3, 4]


def peer_logits(maps, model: Network, batch: Batch) -> torch.Tensor:
    """The network with pelican-lite's maps in their own order, on a list of edges.

    Its mean over the diagonal divides by n^2, where PELICAN's divides by n.
    """
    front = batch.vectors.new_tensor(model.references).view(-1, 4)
    jets = [torch.cat([front, v[real]]) for v, real in zip(batch.vectors, batch.mask, strict=True)]
    numbers = torch.tensor([len(v) for v in jets])
    first = numbers.cumsum(0) - numbers
    edges = torch.cat([torch.cartesian_prod(torch.arange(n), torch.arange(n)).T + start
                       for n, start in zip(numbers.tolist(), first, strict=True)], 1)  # fmt: skip
    of_node = torch.arange(len(jets)).repeat_interleave(numbers)
    of_edge = of_node[edges[0]]
    p = torch.cat(jets)
    metric = p.new_tensor([-1.0, -1.0, -1.0, 1.0])

    def scaled(alpha, number):
        return (number.double()[:, None, None] / 49) ** alpha

    def message(layer, x):
        x = leaky_relu(linear(x, layer.linear.weight, layer.linear.bias))
        norm = layer.norm
        return batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, model.training, 0.1, 1e-5)

    encoder = model.encoder
    z = linear((p[edges[0]] * p[edges[1]] * metric).sum(1, keepdim=True), encoder.linear.weight, encoder.linear.bias)
    t = 1e-6 + encoder.alpha**2
    x = z.sign() * ((1 + z.abs()) ** t - 1) / t
    if model.embed is not None:
        marks = torch.cat([torch.eye(3)[[1, 2] + [0] * (len(v) - 2)] for v in jets]).double()
        ops = maps.aggregate_1to2(marks, edges, of_node)[..., PEER_1_TO_2] * scaled(model.embed.alpha, numbers[of_edge])
        y = torch.einsum("ecb,csb->es", ops, model.embed.coefficients) + model.embed.bias
        x = torch.cat([x, leaky_relu(y)], 1)
    number = numbers[of_edge]
    on_diagonal = (edges[0] == edges[1]).double()[:, None]
    for layer, block in ((block.message, block.maps) for block in model.blocks):
        ops = maps.aggregate_2to2(message(layer, x), edges, of_node)[..., PEER_2_TO_2]
        ops = torch.cat([ops[..., :11], ops[..., 11:13] * number[:, None, None], ops[..., 13:]], 2)
        ops = torch.cat([ops[..., :5], ops[..., 5:] * scaled(block.alpha, number)], 2)
        y = torch.einsum("ecb,csb->es", ops, block.coefficients())
        x = leaky_relu(y + block.bias + on_diagonal * block.diagonal_bias)
    ops = maps.aggregate_2to0(message(model.last_message, x), edges, of_node)
    ops = ops * torch.stack([torch.ones_like(numbers), numbers], 1)[:, None] * scaled(model.to_jet.alpha, numbers)
    y = torch.einsum("gcb,csb->gs", leaky_relu(ops), model.to_jet.coefficients) + model.to_jet.bias
    return leaky_relu(linear(y, model.head[-1].weight, model.head[-1].bias))


@pytest.mark.seconds
@pytest.mark.parametrize("options", [{}, {"references": False, "factorised": False}], ids=["so2", "so13"])
def test_logits_with_the_maps_of_pelican_lite(pelican_lite, options):
    """Fresh, and after ten training steps of each, with the running statistics."""
    torch.manual_seed(1)
    batch = in_double(with_padding(random_jets(6, 12, shortest=2, n_classes=3, seed=5), float("nan")))
    ours = build("pelican", n_features=17, n_classes=3, dropout=0.0, **(SMALL | options)).double()
    peer = copy.deepcopy(ours)
    for steps in (0, 10):
        one, other = (torch.optim.AdamW(model.parameters(), 1e-2) for model in (ours, peer))
        for _ in range(steps):
            for model, optimiser in ((ours.train(), one), (peer.train(), other)):
                optimiser.zero_grad()
                logits = model(batch) if model is ours else peer_logits(pelican_lite, model, batch)
                cross_entropy(logits, batch.label).backward()
                optimiser.step()
        with torch.no_grad():
            found, expected = ours.eval()(batch), peer_logits(pelican_lite, peer.eval(), batch)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert not torch.equal(ours.blocks[1].message.norm.running_mean, torch.zeros(4))


def small(name: str, **options) -> Network:
    torch.manual_seed(1)
    sizes = SMALL if name == "pelican" else {"hidden": 3}
    return build(name, n_features=17, n_classes=3, **(sizes | options)).double().eval()


def massive_jets() -> Batch:
    """In double precision, with masses that survive."""
    jets = in_double(random_jets(4, 12, seed=5))
    momentum = jets.vectors[..., :3] / 10
    energy = (momentum.square().sum(-1) + 0.02).sqrt() * jets.mask
    return jets._replace(vectors=torch.cat([momentum, energy[..., None]], -1))


@torch.no_grad()
@pytest.mark.parametrize(("name", "option"), [("pelican", "references"), ("pelican_nano", "beams")])
def test_lorentz_transformations(name, option):
    """All of them without reference vectors; with these, rotations about the beam only."""
    jets = massive_jets()
    generator = torch.Generator().manual_seed(0)
    anything = rotation(generator) @ boost(torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64), 0.5)
    along = boost(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 0.5)
    for present, matrix, same in (
        (False, anything, True), (True, anything, False), (True, along, False), (True, about_z(1.0), True),
    ):  # fmt: skip
        model = small(name, **{option: present})
        expected, moved = model(jets), model(jets._replace(vectors=jets.vectors @ matrix.T))
        assert torch.allclose(moved, expected, rtol=1e-9, atol=1e-12) == same, (present, same)


@pytest.mark.parametrize(
    ("name", "options"),
    [("pelican", {"scalars": "features", "dropout": 0.0}), ("pelican", {"references": False, "factorised": False}),
     ("pelican_nano", {}), ("pelican_nano", {"norm": True, "beams": False})],
)  # fmt: skip
def test_kernels_give_the_formulas(name, options):
    kernels_give_the_formulas(small(name, **options), 1e-10)


@torch.no_grad()
def test_pairs_are_those_of_real_particles_and_no_map_is_spread_on_its_own():
    """No tensor of a forward pass has more numbers than pairs of real items times channels."""
    model, batch = small("pelican"), in_double(random_jets(4, 20, shortest=15, seed=2))
    pairs = int(((batch.mask.sum(1) + 2) ** 2).sum())
    assert largest_tensor(model, batch) == pairs * SMALL["width"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["pelican", "pelican_nano"])
def test_everything_stays_in_single_precision_under_autocast(name):
    model, jets = small(name).float(), random_jets(4, 12, seed=5)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.encode(jets).jet
    assert torch.equal(found, model.encode(jets).jet)


@torch.no_grad()
def test_the_last_activation_is_an_option():
    jets = massive_jets()
    plain = small("pelican", logits="linear")
    published = small("pelican")
    published.load_state_dict(plain.state_dict())
    plain.head[-1].bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    published.head[-1].bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    assert (plain(jets) < 0).any()
    torch.testing.assert_close(published(jets), leaky_relu(plain(jets)))


@torch.no_grad()
def test_nano_drops_whole_scores_of_two_classes():
    jets = random_jets(200, 6, seed=1)
    model = build("pelican_nano", n_features=17, n_classes=2, dropout=0.5, hidden=2).train()
    model.head.bias.fill_(1.0)
    torch.manual_seed(0)
    dropped = (model(jets) == 0).all(1)
    assert 60 < dropped.sum() < 140
    assert not (model.eval()(jets) == 0).any()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("pelican", {"width": 10}, "width = 10, of_scalars = 10.*expected positive numbers, of_scalars below width"),
        ("pelican", {"blocks": 0}, "blocks = 0"),
        ("pelican", {"logits": "relu"}, "pelican.logits: expected"),
        ("pelican_nano", {"hidden": 0}, "hidden = 0: expected at least 1"),
    ],
)
def test_impossible_sizes_are_one_line(name, options, words):
    with pytest.raises(JetloomError, match=words) as error:
        build(name, n_features=3, n_classes=2, **options)
    assert "\n" not in str(error.value)
