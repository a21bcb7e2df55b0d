"""LLoCa-Transformer: the authors' package, outputs on weights by a rule, published counts, symmetries."""

import pytest
import torch
from torch import nn

from jetloom.errors import JetloomError
from jetloom.models import build, fast
from jetloom.models.layers.attention import key_bias
from jetloom.models.layers.frames import METRIC, FrameNetwork, frames, inverse
from jetloom.models.layers.packing import Packing
from jetloom.models.lloca_transformer import LLoCaTransformer, Transport, tagging_features, transport
from jetloom.models.published import own_names
from tests.models.check_values import batch, fill, jet, scalars
from tests.models.jets import extreme_jets, random_jets, resized
from tests.models.lloca_peer import ask
from tests.models.lorentz import about_z, boost, rotation

# lloca 2.0.0: frame of the first of five particles, what it is in there, and gamma of all.
FRAME = [[6.21879879, -6.00251946, 0.568166919, -1.14908867], [-4.98980165, 4.85024012, -0.330887002, 1.50459466],
         [-0.0376474223, -0.0941042933, -0.972966755, 0.214236794],
         [-3.57406218, 3.67376579, -0.516394358, -0.103451797]]  # fmt: skip
LOCAL = [0.111220847, 0.0721927388, 0.0842129807, -0.00643887162]
GAMMA = [1.30402874, 1.22472986, 1.21473673, 1.18159574, 1.1407991]
# What both backbones say of these particles; and of the first one without the variance option.
OUTPUTS = {
    1: ([[1.36057691, -0.980091481], [1.2663468, -0.88174815], [1.38989349, -1.01025925], [1.16737409, -0.773499715],
         [1.30814544, -0.923499025]], [1.34923528, -0.968960345]),
    2: ([[-1.07009801, 0.944260187], [-0.970040138, 0.812905265], [-0.83487622, 0.707637926],
         [-1.14439668, 1.02311081], [-1.18873246, 1.0560742]], [-0.886705133, 0.776301724]),
}  # fmt: skip


def close(found, expected, tolerance=1e-8):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance)


@torch.no_grad()
def known_frames():
    """Momenta (1, 5, 4) E, px, py, pz, and L (5, 4, 4), with mu and sigma of these particles."""
    momenta, mask = jet(5)[None].roll(1, -1) / 20, torch.ones(1, 5, dtype=torch.bool)
    network = FrameNetwork(3, 8, 2).double()
    fill((parameter, False) for parameter in network.parameters())
    matrices = frames(network(momenta, scalars(5, 3)[None], mask, 0))
    return network, momenta, matrices


@pytest.mark.parametrize("kernels", [False, True])
def test_frames_of_the_authors_package(kernels):
    with fast.off() if not kernels else torch.no_grad():
        network, momenta, matrices = known_frames()
    assert sum(parameter.numel() for parameter in network.parameters()) == 163
    close(network.mean, -3.46969586)
    close(network.deviation, 1.39629474)
    close(matrices[0], FRAME)
    close(matrices[0] @ momenta[0, 0], LOCAL)
    frame = transport(matrices, momenta.sum(1).expand(5, -1), keep_variance=True)
    close(matrices[:, 0, 0] / frame.to_local[:, 0, 0], GAMMA)


def in_their_order(model: LLoCaTransformer):
    """Parameters of the backbone in the order of the package."""
    yield from ((x, False) for x in model.embed.parameters())
    for block in model.blocks:
        yield from ((x, True) for norm in (block.norm1, block.norm2) for x in norm.parameters())
        layers = (block.query_key_value, block.out, block.fc1, block.fc2)
        yield from ((x, False) for layer in layers for x in layer.parameters())
    yield from ((x, False) for x in model.head.parameters())


@pytest.mark.seconds
@torch.no_grad()
@pytest.mark.parametrize(("version", "parameters"), [(1, 9_698), (2, 12_194)])
def test_backbones_of_the_authors_package(version, parameters):
    model = build("lloca_transformer", n_features=3, n_classes=2, version=version, scalars=4, vectors=2, blocks=2,
                  heads=2).double()  # fmt: skip
    model.embed = nn.Linear(3, 24).double()
    tensors = list(in_their_order(model))
    assert sum(tensor.numel() for tensor, _ in tensors) == parameters
    fill(tensors)
    _, momenta, matrices = known_frames()
    mask = torch.ones(1, 5, dtype=torch.bool)
    every, first = OUTPUTS[version]
    for keep_variance in (True, False):
        frame = transport(matrices, momenta.sum(1).expand(5, -1), keep_variance)
        x = model.embed(scalars(5, 3))
        for block in model.blocks:
            x = block(x, Packing(mask), key_bias(mask), frame)
        close(model.head(x) if keep_variance else model.head(x)[0], every if keep_variance else first)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("size", "counts"),
    [(-2, (42_916, 43_693)), (-1, (251_204, 252_749)), (0, (1_324_932, 1_328_013)), (1, (7_906_052, 7_912_205)),
     (2, (44_684_292, 44_696_589))],
)  # fmt: skip
def test_published_counts_of_the_size_study(size, counts):
    """With 7 features and one logit, with 17 and ten."""
    with torch.device("meta"):
        models = [build("lloca_transformer", n_features=f, n_classes=c, size=size) for f, c in ((7, 1), (17, 10))]
    assert tuple(map(count, models)) == counts


@pytest.mark.parametrize(
    ("preset", "options", "counts"),
    [
        ("top", {}, (1_584_769, 1_587_210)),
        ("jetclass", {}, (1_978_753, 1_981_194)),
        ("top", {"blocks": 4, "heads": 4}, (133_441, 134_666)),
        ("top", {"scalars": 4, "blocks": 2, "heads": 4}, (17_121, 17_738)),
        ("top", {"scalars": 4, "blocks": 1, "heads": 2, "ffn_ratio": 1}, (1_777, 2_090)),
    ],
)
def test_published_counts_of_the_first_backbone(preset, options, counts):
    """Frames aside, as the package counts; those of the published presets have 35,459 and 38,019."""
    with torch.device("meta"):
        models = [
            build("lloca_transformer", n_features=f, n_classes=c, preset=preset, **options)
            for f, c in ((7, 1), (17, 10))
        ]
    assert tuple(count(model) - count(model.frames) for model in models) == counts
    assert tuple(count(model.frames) for model in models) == (35_459, 38_019)


@pytest.mark.parametrize(
    ("width", "counts"), [(4, (99, 179)), (8, (227, 387)), (16, (579, 899)), (128, (18_947, 21_507))]
)
def test_published_counts_of_frames(width, counts):
    assert tuple(count(FrameNetwork(number, width, 2)) for number in (7, 17)) == counts


CASES = {
    "size study": {"version": 2, "item": True, "keep_variance": True, "canonical": "beam", "frame_layers": 2},
    "JetClass": {"version": 1, "item": False, "keep_variance": False, "canonical": "none", "frame_layers": 3},
    "top": {"version": 1, "item": False, "keep_variance": True, "canonical": "rest", "frame_layers": 2},
}


@pytest.mark.seconds
@pytest.mark.parametrize("steps", [0, 10])
@pytest.mark.parametrize("case", CASES)
def test_parity(lloca_2_0, case, steps):
    """Logits and gradients of the package, fresh and after ten steps of training, of jets of two to 14 particles."""
    settings, jets = CASES[case], random_jets(6, 14, seed=2, shortest=2, n_classes=3)
    jets = jets._replace(features=jets.features.double(), vectors=jets.vectors.double())
    model = build(
        "lloca_transformer", n_features=17, n_classes=3, version=settings["version"],
        readout="item" if settings["item"] else "mean", keep_variance=settings["keep_variance"],
        canonical=settings["canonical"], scalars=4, vectors=2, blocks=2, heads=2, frame_width=8,
        frame_layers=settings["frame_layers"],
    ).double()  # fmt: skip
    answer = ask(
        lloca_2_0,
        momenta=[vectors[mask] for vectors, mask in zip(jets.vectors, jets.mask, strict=True)],
        others=[features[mask][:, 5:15] for features, mask in zip(jets.features, jets.mask, strict=True)],
        label=jets.label,
        steps=steps,
        classes=3,
        frame_width=8,
        backbone={"attn_reps": "4x0n+2x1n", "num_blocks": 2, "num_heads": 2, "mlp_factor": 2},
        **settings,
    )
    model.load_state_dict(own_names(model, answer["state"]))
    logits = model.eval()(jets)
    assert logits.std() > 0.01
    torch.testing.assert_close(logits, answer["logits"], rtol=1e-7, atol=1e-8)
    nn.functional.cross_entropy(logits, jets.label).backward()
    for name, expected in own_names(model, answer["gradients"]).items():
        torch.testing.assert_close(model.get_parameter(name).grad, expected, rtol=1e-5, atol=1e-8, msg=name)


def test_mean_and_deviation_of_pairs_are_those_of_the_first_batch(tmp_path):
    model = build("lloca_transformer", n_features=17, n_classes=3, preset="tiny").train()
    model(random_jets(8, 12, seed=1))
    first = model.frames.mean.clone(), model.frames.deviation.clone()
    assert first[0] != 0 and first[1] != 1
    model(random_jets(8, 12, seed=2))
    assert (model.frames.mean, model.frames.deviation) == first
    torch.save(model.state_dict(), tmp_path / "state.pt")
    fresh = build("lloca_transformer", n_features=17, n_classes=3, preset="tiny").eval()
    fresh(random_jets(8, 12, seed=2))
    assert fresh.frames.mean == 0 and fresh.frames.deviation == 1
    fresh.load_state_dict(torch.load(tmp_path / "state.pt"))
    fresh.train()(random_jets(8, 12, seed=2))
    assert (fresh.frames.mean, fresh.frames.deviation) == first


def exact(jets):
    """Double precision, with masses that do not suffer from single-precision input."""
    momentum = jets.vectors[..., :3].double()
    energy = (momentum.square().sum(-1) + 0.02).sqrt() * jets.mask
    vectors = torch.cat([momentum, energy[..., None]], -1)
    return jets._replace(vectors=vectors, features=jets.features.double())


GENERATOR = torch.Generator().manual_seed(0)
ANY = rotation(GENERATOR) @ boost(torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64), 0.5) @ rotation(GENERATOR)
ALONG = boost(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 0.7) @ about_z(0.4)
FREE = {"references": False, "readout": "mean", "canonical": "none", "frame_features": "none"}


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "transformation", "same"),
    [
        (FREE, ANY, True),
        (FREE | {"version": 1, "keep_variance": False}, ANY, True),
        (FREE | {"canonical": "rest"}, ANY, True),
        (FREE | {"references": True}, ANY, False),
        (FREE | {"frame_features": "all"}, ANY, False),
        (FREE | {"readout": "item"}, ANY, False),
        ({}, about_z(1.0), True),
        ({}, ALONG, False),
        ({}, ANY, False),
        ({"references": False}, ALONG, True),
        ({"canonical": "none", "readout": "mean"}, about_z(1.0), True),
    ],
)
def test_symmetries(options, transformation, same):
    torch.manual_seed(1)
    jets = exact(random_jets(4, 12, seed=5))
    model = build("lloca_transformer", n_features=17, n_classes=3, preset="tiny", **options).double()
    model.train()(jets)
    expected = model.eval()(jets)
    assert expected.std() > 1e-2
    found = model(jets._replace(vectors=jets.vectors @ transformation.T))
    assert torch.allclose(found, expected, rtol=1e-7, atol=1e-7) == same


@torch.no_grad()
def test_frames_are_lorentz_transformations_whatever_the_vectors():
    """Timelike ones, and those that span no plane or have no rest frame; the same answer each time."""
    generator = torch.Generator().manual_seed(0)
    momentum = torch.randn(40, 3, 3, generator=generator, dtype=torch.float64)
    vectors = torch.cat([(momentum.square().sum(-1, keepdim=True) + 0.1).sqrt(), momentum], -1)
    vectors[1] = 0
    vectors[2] = vectors[2, :1]
    vectors[3, 1:] = vectors[3, :1] * torch.tensor([[2.0], [3.0]])
    vectors[4, 2] = vectors[4, 0] + vectors[4, 1]
    vectors[5, :, 1:] = 0
    vectors[6, :, 1:3] = 0
    matrices = frames(vectors)
    metric = torch.tensor(METRIC, dtype=torch.float64).diag()
    eye = torch.eye(4, dtype=torch.float64).expand(40, 4, 4)
    close(matrices.mT @ metric @ matrices, metric.expand(40, 4, 4), 1e-9)
    close(inverse(matrices) @ matrices, eye, 1e-9)
    assert torch.equal(matrices[1], eye[1])
    close(torch.linalg.det(matrices), torch.ones(40), 1e-9)
    assert (matrices[:, 0, 0] >= 1).all()
    close((matrices @ vectors[:, 0, :, None])[:, 1:, 0], torch.zeros(40, 3), 1e-9)
    assert torch.equal(frames(vectors), matrices)


def test_gradients_where_frames_are_not_determined():
    """All momenta along the beam, or none: finite ones in single precision, through frames and features."""
    for name in ("along the beam", "zero energy", "one particle", "identical"):
        for options in ({}, {"references": False}, {"canonical": "none"}, {"canonical": "rest"}):
            torch.manual_seed(0)
            model = build("lloca_transformer", n_features=17, n_classes=10, preset="tiny", **options)
            jets = extreme_jets()[name]
            nn.functional.cross_entropy(model(jets), jets.label).backward()
            assert all(x.grad.isfinite().all() for x in model.parameters()), (name, options)


def test_no_pair_of_padded_slots_is_computed():
    """The network of pairs sees each real particle with all references and other real particles of its jet, once."""
    model = build("lloca_transformer", n_features=17, n_classes=3, preset="tiny")
    jets = resized(random_jets(5, 20, seed=3, shortest=1), 40)
    rows = []
    model.frames.network[1].register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[0]))
    model(jets)
    number = jets.mask.sum(1)
    assert rows == [int((number * (number + 2)).sum())]


@torch.no_grad()
def test_four_vectors_stay_in_their_precision_under_autocast():
    model, jets = build("lloca_transformer", n_features=3, n_classes=2, preset="tiny").eval(), batch(5, 3)
    jets = jets._replace(features=jets.features.float(), vectors=jets.vectors.float())
    expected = model.encode(jets).jet
    with torch.autocast("cpu", torch.bfloat16):
        found = model.encode(jets).jet
    assert torch.equal(found, expected) and found.dtype == torch.float32


def test_kinematic_features_are_those_of_the_data_sets():
    """In the laboratory the seven features are the prepared ones, in the authors' order and with their sign of deta."""
    jets = random_jets(4, 12, seed=5, n_features=7)
    jets = jets._replace(features=jets.features.double(), vectors=jets.vectors.double())
    momenta = jets.vectors[..., [3, 0, 1, 2]]
    found = tagging_features(momenta, momenta.sum(1, keepdim=True))[jets.mask]
    prepared = jets.features[jets.mask]
    for ours, theirs, sign in ((0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 6, 1), (5, 5, -1), (6, 4, 1)):
        torch.testing.assert_close(found[:, ours], sign * prepared[:, theirs], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("features", "others"), [(3, []), (7, []), (13, range(5, 11)), (17, range(5, 15))])
def test_features_that_are_not_kinematic(features, others):
    model = build("lloca_transformer", n_features=features, n_classes=2, preset="tiny")
    assert model.others == list(others)
    assert model.embed.in_features == 7 + len(others) + 1


@torch.no_grad()
def test_without_boosts_and_variance_it_is_the_transformer_of_the_size_study():
    """Identities as frames: the blocks of transformer_v2 with the metric between queries and keys of vectors."""
    torch.manual_seed(0)
    model = build("lloca_transformer", n_features=7, n_classes=2, scalars=8, vectors=0, blocks=1, heads=2).double()
    plain = build("transformer_v2", n_features=7, n_classes=2, width=16, blocks=1, heads=2).double()
    [block], [other] = model.blocks, plain.blocks
    other.load_state_dict(block.state_dict())
    mask, x = torch.ones(1, 5, dtype=torch.bool), torch.randn(5, 16, dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64).expand(5, 4, 4)
    packing, bias = Packing(mask), key_bias(mask)
    close(block(x, packing, bias, Transport(eye, eye)), other(x, packing, bias), 1e-12)


def test_mistakes():
    with pytest.raises(JetloomError, match="scalars = 0 and vectors = 0 must not be negative nor both be 0"):
        build("lloca_transformer", n_features=7, n_classes=2, scalars=0, vectors=0)
    with pytest.raises(JetloomError, match="frame_layers = 0 must be at least 1"):
        build("lloca_transformer", n_features=7, n_classes=2, frame_layers=0)
    with pytest.raises(JetloomError, match="four-vectors"):
        build("lloca_transformer", n_features=7, n_classes=2, preset="tiny")(batch(5, 7)._replace(vectors=None))
