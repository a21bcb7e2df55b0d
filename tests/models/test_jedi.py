"""JEDI-linear and JEDI-net: counts of the published sizes, and loops over pairs of particles in double precision."""

import pytest
import torch
from torch import nn
from torch.nn.functional import elu, linear, relu, selu

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.evaluation.onnx import export_onnx
from jetloom.models import build, fast
from jetloom.models.network import Network
from tests.models.agreement import largest_tensor
from tests.models.jets import permuted, random_jets, resized, with_padding

FORMS = [("flat", "real"), ("flat", "published"), ("sum", "real"), ("sum", "published")]
SMALL = {"hidden": 7, "messages": 4, "outputs": 5, "activations": ["selu", "relu", "elu"], "max_particles": 9}


def jets(number: int = 6, particles: int = 9, *, double: bool = True) -> Batch:
    """Of all numbers of particles from 0 on, the last one full; padding is not a number."""
    batch = random_jets(number, particles, shortest=1, full=True, seed=4)
    length = torch.arange(number)
    length[-1] = particles
    batch = with_padding(batch._replace(mask=torch.arange(particles) < length[:, None]), float("nan"))
    return batch.map(lambda x: x.double() if double and x.is_floating_point() else x)


def net(readout: str, mask: str, **options) -> Network:
    torch.manual_seed(1)
    return build(
        "jedi_net", n_features=17, n_classes=3, **(SMALL | {"readout": readout, "mask": mask} | options)
    ).eval()


def linear_net(mask: str, **options) -> Network:
    """With running statistics that are not those at the start."""
    torch.manual_seed(1)
    model = build("jedi_linear", n_features=17, n_classes=3, width=6, hidden=[5], mask=mask, **options).train()
    for seed in range(3):
        model(random_jets(16, 9, seed=seed))
    return model.eval()


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("preset", "features", "classes", "options", "expected"),
    [
        (None, 16, 5, {}, 33_625),
        ("hls4ml", 16, 5, {}, 33_625),
        ("hls4ml_30", 16, 5, {}, 16_573),
        ("hls4ml_50", 16, 5, {}, 42_781),
        ("hls4ml", 16, 5, {"max_particles": 150, "hidden": 50, "messages": 14, "outputs": 6}, 52_725),
        ("hls4ml_sum_30", 16, 5, {}, 529),
        ("hls4ml_sum_50", 16, 5, {}, 8_481),
        ("hls4ml_sum_100", 16, 5, {}, 3_373),
        ("hls4ml_sum", 16, 5, {}, 8_329),
        ("hls4ml_sum", 16, 5, {"outputs": 12}, 8_481),
        ("hls4ml_sum", 3, 5, {}, 6_379),
        ("top", 16, 2, {}, 169_906),
        ("top_sum", 16, 2, {}, 148_962),
    ],
)
def test_counts_of_the_published_sizes_of_jedi_net(preset, features, classes, options, expected):
    model = build("jedi_net", n_features=features, n_classes=classes, preset=preset, **options)
    assert parameters(model) == expected


@pytest.mark.parametrize(("features", "expected"), [(3, 20_335), (16, 21_167)])
def test_counts_of_the_published_sizes_of_jedi_linear(features, expected):
    model = build("jedi_linear", n_features=features, n_classes=5, preset="hls4ml")
    assert parameters(model) == expected
    assert sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point()) == 746


def through(network: nn.Sequential, x: torch.Tensor, activation) -> torch.Tensor:
    for layer in network:
        if isinstance(layer, nn.Linear):
            x = linear(x, layer.weight, layer.bias)
            # The last layer of phi_C is linear.
            x = x if layer is network[-1] else activation(x)
    return x


@pytest.mark.parametrize(("readout", "mask"), FORMS)
def test_jedi_net_is_a_loop_over_pairs(readout, mask):
    """Logits and gradients; by kernel and by formula, and with some pairs at a time."""
    model, batch = net(readout, mask).double(), jets()
    expected = []
    for features, real in zip(batch.features, batch.mask, strict=True):
        x = features[real]
        if mask == "published":
            x = torch.cat([x, x.new_zeros(9 - len(x), 17)])
        outputs = x.new_zeros(9, 5)
        for i in range(len(x)):
            told = x.new_zeros(4)
            for j in range(len(x)):
                if i != j:
                    told = told + through(model.relation, torch.cat([x[i], x[j]]), selu)
            outputs[i] = through(model.object, torch.cat([x[i], told]), relu)
        expected.append(through(model.head, outputs.flatten() if readout == "flat" else outputs.sum(0), elu))
    expected = torch.stack(expected)
    weights = [parameter for name, parameter in model.named_parameters() if name.startswith("relation")]
    slopes = torch.autograd.grad(expected.square().sum(), weights)
    for kernels in (True, False):
        with fast.off() if not kernels else torch.enable_grad():
            logits = model(batch)
            torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
            found = torch.autograd.grad(logits.square().sum(), weights)
        for one, other in zip(found, slopes, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_pairs_are_those_of_real_particles_and_come_some_at_a_time(monkeypatch):
    model, batch = net("sum", "real").double(), jets()
    rows: list[int] = []
    model.relation[1].register_forward_hook(lambda layer, inputs, output: rows.append(len(output)))
    expected = model(batch)
    pairs = sum(n * (n - 1) for n in (0, 1, 2, 3, 4, 9))
    assert rows == [pairs]
    rows.clear()
    monkeypatch.setattr(fast.all_pairs, "PAIRS", {"cpu": 20})
    torch.testing.assert_close(model(batch), expected, rtol=1e-12, atol=1e-12)
    assert sum(rows) == pairs and len(rows) > 5 and max(rows) <= 20


@torch.no_grad()
@pytest.mark.parametrize("mask", ["real", "published"])
@pytest.mark.parametrize("length", [9, 12])
def test_jedi_linear_is_an_interaction_network_on_pairs(mask, length):
    """Each receiver adds the messages of all senders, 2^-round(log2 N) W x_j, one by one."""
    model, batch = linear_net(mask, max_particles=length).double(), jets()
    scale = {9: 1 / 8, 12: 1 / 16}[length]

    def normal(norm, x):
        return (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias

    def dense(layer, x):
        return relu(normal(layer.norm, linear(x, layer.linear.weight, layer.linear.bias)))

    expected = []
    for features, real in zip(batch.features, batch.mask, strict=True):
        x = features[real]
        if mask == "published":
            x = torch.cat([x, x.new_zeros(length - len(x), 17)])
        x = dense(model.embed, x)
        total = x.new_zeros(6)
        for i in range(len(x)):
            told = model.common.linear.bias.clone()
            for j in range(len(x)):
                told += scale * linear(x[j], model.common.linear.weight)
            total += dense(model.after, dense(model.own, x[i]) + relu(normal(model.common.norm, told)))
        last, norm = model.head[-1]
        expected.append(normal(norm, last(dense(model.head[0], total / 16))))
    torch.testing.assert_close(model(batch), torch.stack(expected), rtol=1e-10, atol=1e-10)
    with fast.off():
        torch.testing.assert_close(model(batch), torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_the_cost_of_jedi_linear_is_linear():
    """No tensor of a forward pass has more numbers than particles times the widest layer."""
    model, batch = linear_net("published", max_particles=64), random_jets(2, 64)
    assert largest_tensor(model, batch) <= 2 * 64 * 17


@torch.no_grad()
@pytest.mark.parametrize(
    ("make", "ordered"),
    [(lambda: net("flat", "real"), True), (lambda: net("sum", "published"), False),
     (lambda: linear_net("published", max_particles=12), False)],
    ids=["flat", "sum, published", "linear, published"],
)  # fmt: skip
def test_order_and_padding(make, ordered):
    """The forms that are not the tiny presets: order, content and width of padding, particles in their slots."""
    model = make()
    batch = random_jets(5, 9, shortest=2, seed=3)
    logits = model(batch)
    assert model.ordered == ordered
    assert torch.allclose(model(permuted(batch)), logits, atol=1e-5) != ordered
    torch.testing.assert_close(model(with_padding(batch, float("nan"))), logits)
    torch.testing.assert_close(model(resized(batch, 40)), logits)
    encoded = model.encode(batch)
    assert encoded.jet.shape == (5, model.jet_width)
    assert encoded.particles.shape == (*encoded.mask.shape, model.particle_width)
    assert not encoded.particles[~encoded.mask].any()


@torch.no_grad()
def test_padding_takes_part_where_it_is_published_and_only_there():
    batch = random_jets(5, 9, shortest=2, seed=3)
    for row, options in (("jedi_net", {"readout": "sum"}), ("jedi_linear", {})):
        for mask, same in (("real", True), ("published", False)):
            # JEDI-linear divides its sum by the same power of two for both lengths.
            short, long = (build(row, n_features=17, n_classes=3, max_particles=length, mask=mask, **options).eval()
                           for length in (12, 15))  # fmt: skip
            long.load_state_dict(short.state_dict())
            assert torch.allclose(short(batch), long(batch), rtol=1e-5, atol=1e-6) == same


@pytest.mark.parametrize("row", ["jedi_net", "jedi_linear"])
def test_statistics_and_gradients_of_jets_with_hardly_a_particle(row):
    model = build(row, n_features=17, n_classes=10, max_particles=9).train()
    for batch in (jets(double=False), jets(2, double=False), jets(1, 1, double=False)):
        nn.functional.cross_entropy(model(batch), batch.label).backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
        assert all(buffer.isfinite().all() for buffer in model.buffers())


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make", [lambda: net("flat", "real"), lambda: net("sum", "published")], ids=["flat", "sum, published"]
)
def test_onnx_of_the_other_forms(make, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, file = make(), tmp_path / "model.onnx"
    export_onnx(model, file, n_features=17, kind="jets", longest=9)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    for batch in (random_jets(3, 9, shortest=1, seed=7), random_jets(1, 6, shortest=1, seed=8)):
        (found,) = session.run(None, {key: x.numpy() for key, x in batch._asdict().items() if key in wanted})
        torch.testing.assert_close(torch.from_numpy(found), model(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("row", "options", "words"),
    [
        ("jedi_net", {"activations": ["elu"]}, r"activations: expected those of three networks.*got \['elu'\]"),
        ("jedi_net", {"hidden": 1}, "hidden = 1 must be at least 2"),
        ("jedi_net", {"activations": ["gelu"] * 3}, "activations: expected"),
        ("jedi_linear", {"width": 0}, "must be positive"),
    ],
)
def test_impossible_sizes_are_one_line(row, options, words):
    with pytest.raises(JetloomError, match=words):
        build(row, n_features=3, n_classes=2, **options)


def test_longer_jets_are_refused():
    for row in ("jedi_net", "jedi_linear"):
        with pytest.raises(JetloomError, match="built for max_particles = 8, but a jet reaches slot 9"):
            build(row, n_features=17, n_classes=2, max_particles=8)(random_jets(2, 9))
