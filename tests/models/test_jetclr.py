"""JetCLR's transformer: sizes, torch's own layers, infrared safety, and no collinear safety."""

import pytest
import torch
from torch import nn

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.jetclr import JetCLR
from jetloom.tasks.contrastive.learn import Contrastive
from jetloom.tasks.task import Data
from tests.models.jets import batch_of, four_vectors, random_jets


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    with torch.device("meta"):
        network = build("jetclr", preset="top", n_features=3, n_classes=2)
        assert size(network) - size(network.head) == 24_044_000
        Contrastive(Data([], []), projection=(1000, 1000)).attach(network)
        assert size(network.head) == 2_002_000
    for width, layers, expected in ((64, 2, 50_688), (32, 2, 13_056)):
        small = JetCLR(3, 2, width=width, layers=layers, hidden=width)
        assert size(small) - size(small.head) == expected


def small(n_features: int = 7) -> JetCLR:
    torch.manual_seed(3)
    return JetCLR(n_features, 5, width=32, layers=2, hidden=48, dropout=0.0).double().eval()


def doubled(batch: Batch) -> Batch:
    return batch.map(lambda x: x.double() if x.is_floating_point() else x)


def test_the_layers_are_torchs_with_a_bias_for_each_key():
    network, batch = small(), doubled(random_jets(6, 20, n_features=7))
    pt = kinematics.pt(batch.vectors)
    bias = (0.5 * pt.log()).masked_fill(~batch.mask, -1e4)
    x = network.embed(batch.features)
    for layer in network.layers:
        peer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True, dtype=torch.float64)
        weights = layer.state_dict()
        names = {"attn.": "self_attn.", "fc1.": "linear1.", "fc2.": "linear2."}
        for ours, theirs in names.items():
            weights = {key.replace(ours, theirs): value for key, value in weights.items()}
        peer.load_state_dict(weights)
        x = peer(x, src_mask=bias[:, None, None].expand(6, 4, 20, 20).flatten(0, 1))
    expected = (x * (pt / 600)[..., None] * batch.mask[..., None]).sum(1)
    torch.testing.assert_close(network.encode(batch).jet, expected, atol=1e-6, rtol=1e-6)


def jet(pt: list[float], eta: list[float], phi: list[float]) -> Batch:
    values = (torch.tensor([x], dtype=torch.float64) for x in (pt, eta, phi))
    return doubled(batch_of(four_vectors(*values), torch.ones(1, len(pt), dtype=torch.bool), 7))


PT = [300.0, 120.0, 80.0, 50.0, 30.0, *([20.0] * 10), *([5.0] * 15), *([2.0] * 10)]
ETA, PHI = (torch.empty(2, len(PT)).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))).tolist()


def change(network: JetCLR, one: Batch, two: Batch) -> float:
    first, second = network.encode(one).jet, network.encode(two).jet
    return ((second - first).norm() / first.norm()).item()


@torch.no_grad()
def test_infrared_safe_but_not_collinear_safe():
    network = small()
    before = jet(PT, ETA, PHI)
    soft = jet([*PT, 1e-6], [*ETA, -0.6], [*PHI, 0.7])
    assert 0 < change(network, before, soft) < 1e-4
    changes = [change(network, before, jet([*PT, pt], [*ETA, -0.6], [*PHI, 0.7])) for pt in (1e-2, 1e-4, 1e-6)]
    assert changes == sorted(changes, reverse=True)
    assert changes[1] / changes[2] == pytest.approx(10, rel=0.3), "as the square root of pT"
    # Half the pT each, one direction. The features know the split too; the attention alone does already.
    halves = jet([PT[0] / 2, PT[0] / 2, *PT[1:]], [ETA[0], *ETA], [PHI[0], *PHI])
    same = torch.cat([before.features[:, :1], before.features], 1)
    assert change(network, before, halves) > 1e-3
    assert 1e-3 < change(network, before, halves._replace(features=same)) < 1
    # Were the bias ln(pT) instead of half of it, nothing would change.
    linear = small()
    for layer in linear.layers:
        forward = layer.forward
        layer.forward = lambda x, packing, given, forward=forward: forward(x, packing, 2 * given)
    assert change(linear, before, halves._replace(features=same)) < 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads = 3 does not divide width = 1000"),
        ({"unit": 0.0}, "unit: expected a positive pT, got 0.0"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(JetloomError, match=message):
        build("jetclr", n_features=3, n_classes=2, **options)
