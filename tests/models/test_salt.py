"""SAL-T and its baselines against a naive re-expression of the published forward pass, and the published counts."""

import math

import numpy
import pytest
import torch
from torch.nn import functional

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build, fast
from jetloom.models.fast.mixtures import convolved
from jetloom.models.layers.order import CELLS, largest_first, morton_code, real_first, sort_key
from jetloom.models.salt import ScoreConvolution
from jetloom.models.small_tagger import real_partitions
from tests.models.jets import permuted, random_jets, random_points, resized, tower_jets


def count(name: str, n_classes: int, **options) -> int:
    model = build(name, n_features=3, n_classes=n_classes, **options)
    return sum(parameter.numel() for parameter in model.parameters())


# Parameters as logged by the authors or printed by the follow-up paper, where there is a number in either.
@pytest.mark.parametrize(
    ("length", "classes", "salt", "linformer", "transformer"),
    [
        (150, 5, 3264, 6809, 2009),
        (32, 5, 2304, 3033, 2009),
        (16, 5, 2176, 2521, 2009),
        (200, 1, 3580, 8341, 1941),
        (150, 1, 3196, 6741, 1941),
        (1024, 10, 10325, 34862, 2094),
    ],
)
def test_published_parameters(length, classes, salt, linformer, transformer):
    assert count("salt", classes, max_particles=length) == salt
    assert count("linformer", classes, max_particles=length) == linformer
    assert count("transformer_small", classes, max_particles=length) == transformer


@pytest.mark.parametrize(
    ("preset", "classes", "salt", "linformer", "transformer"),
    [
        ("hls4ml", 5, 3264, 6809, 2009),
        ("top", 1, 3580, 8341, 1941),
        ("qg", 1, 3196, 6741, 1941),
        ("modelnet10", 10, 10325, 34862, 2094),
    ],
)
def test_presets_have_the_published_length(preset, classes, salt, linformer, transformer):
    """Where none is given; that of the data comes first, as a network must fit them."""
    assert count("salt", classes, preset=preset) == salt
    assert count("linformer", classes, preset=preset) == linformer
    assert count("transformer_small", classes, preset=preset) == transformer
    assert count("salt", classes, preset=preset, max_particles=32) == count("salt", classes, max_particles=32)
    longest = {"hls4ml": 150, "top": 200, "qg": 150, "modelnet10": 1024}[preset]
    small = build("transformer_small", n_features=3, n_classes=classes, preset=preset, mask="published")
    assert small.max_particles == longest


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"conv_heights": []}, 3225),
        ({"partition": False}, 6848),
        ({"partition": False, "conv_heights": []}, 6809),
        ({"p": 1}, 3221),
        ({"p": 2}, 3230),
        ({"p": 8}, 3300),
        ({"p": 16}, 3436),
        ({"conv_heights": [1, 3, 5, 7]}, 3293),
        ({"conv_heights": [1, 3, 5, 7, 9]}, 3330),
        ({"conv_heights": [1, 5, 7]}, 3280),
        ({"conv_heights": [3, 3, 3]}, 3264),
        ({"conv_heights": [3, 5, 7]}, 3288),
        ({"conv_heights": [3, 5, 7, 9]}, 3325),
        ({"conv_heights": [5, 5, 5]}, 3288),
        ({"conv_heights": [7, 7, 7]}, 3312),
        ({"p": 16, "partition": "keys", "conv_heights": []}, 12249),
        ({"p": 16, "partition": "values", "conv_heights": []}, 12249),
    ],
)
def test_parameters_of_ablations(options, parameters):
    assert count("salt", 5, max_particles=150, **options) == parameters


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(
    ("d", "d_ff", "heads", "p", "n"), [(20, 40, 4, 4, 150), (24, 32, 4, 6, 150), (16, 8, 2, 5, 33)]
)
def test_parameter_formula(d, d_ff, heads, p, n, share):
    """The formula of the author code's layers; 5,144 and 11,945 are printed for the first two (C = 5)."""
    features, classes = 3, 5
    common = (
        features * d + d + 3 * d * d + (d * d + d) + 4 + (2 * d * d_ff + d_ff + d) + (d * d + d) + d * classes + classes
    )
    options = dict(d_model=d, d_ff=d_ff, heads=heads, p=p, max_particles=n, share=share)
    projections = 1 if share else 2
    convolution = 9 * p + 3
    assert count("linformer", classes, **options) == common + projections * heads * n * p
    assert count("salt", classes, **options) == common + projections * heads * p * math.ceil(n / p) + convolution
    if not share and (d, p) in ((20, 4), (24, 6)):
        assert count(*(("salt", 5) if d == 20 else ("linformer", 5)), **options) == (5144 if d == 20 else 11945)


def naive(model, batch: Batch, lengths: list[int] | None = None) -> torch.Tensor:
    """The published network, one jet at a time, as the author code describes it: no folding, no masks.

    Args:
        model: its weights are used.
        batch: particles in the order in which the network reads them.
        lengths: particles that take part, per jet; None: all slots.
    """
    out = []
    for index in range(len(batch.mask)):
        real = batch.mask.shape[1] if lengths is None else lengths[index]
        x = functional.relu(model.embed(batch.features[index, :real]))
        for block in model.blocks:
            x = block.norm1(x + naive_attention(block.attention, x, model.max_particles, model.partitions))
            x = block.norm2(x + block.fc2(functional.relu(block.fc1(x))))
        pooled = x.max(0).values
        out.append(model.head(pooled))
    return torch.stack(out)


def naive_attention(attention, x: torch.Tensor, length: int, real_runs: int) -> torch.Tensor:
    """One jet (R, d): query, key, value, projection with loops, whole Conv2d kernels, softmax, output."""
    number, width = x.shape
    heads = attention.heads
    query, key, value = (
        layer(x).view(number, heads, -1) for layer in (attention.query, attention.key, attention.value)
    )

    def project(projection, rows):
        weight = projection.weight
        if type(projection).__name__ == "Projection":
            return torch.einsum("hnp,nhe->hpe", weight[:, :number], rows)
        p, capacity = weight.shape[1:]
        result = torch.zeros(heads, p, rows.shape[-1], dtype=x.dtype)
        place = [0] * p
        for i in range(number):
            j = i * p // number if real_runs else i // capacity
            for h in range(heads):
                result[h, j] += weight[h, j, place[j]] * rows[i, h]
            place[j] += 1
        return result

    second = attention.value_projection if attention.value_projection is not None else attention.key_projection
    keys, values = project(attention.key_projection, key), project(second, value)
    p = keys.shape[1]
    scores = torch.einsum("nhe,hpe->hnp", query, keys) / math.sqrt(width / heads)
    convolution = getattr(attention, "convolution", None)
    if convolution is not None:
        maps = []
        for kernel, bias in zip(convolution.kernels, convolution.biases, strict=True):
            margin = (kernel.shape[0] - 1) // 2
            padded = functional.pad(scores[:, None], ((p - 1) // 2, p - 1 - (p - 1) // 2, margin, margin))
            maps.append(functional.conv2d(padded, kernel[None, None], bias[None])[:, 0])
        scores = torch.stack(maps).mean(0)
    if type(attention.key_projection).__name__ == "PartitionedProjection" and length is not None:
        capacity = attention.key_projection.weight.shape[2]
        used = min(p, number) if real_runs else math.ceil(number / capacity)
        filled = sorted({i * p // number if real_runs else i // capacity for i in range(number)})
        assert len(filled) == used
        weights = torch.zeros_like(scores)
        weights[..., filled] = scores[..., filled].softmax(-1)
    else:
        weights = scores.softmax(-1)
    return attention.out(torch.einsum("hnp,hpe->nhe", weights, values).flatten(1))


def shaken(name: str, **options):
    """A double-precision model none of whose parameters is at its initial value."""
    torch.manual_seed(2)
    model = build(name, n_features=17, n_classes=10, max_particles=32, **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def doubled(batch: Batch) -> Batch:
    return batch._replace(features=batch.features.double())


VARIANTS = [
    ("linformer", {}),
    ("linformer", {"share": True, "p": 3, "layers": 2}),
    ("salt", {}),
    ("salt", {"partition_by": "real"}),
    ("salt", {"layers": 3, "conv_heights": [1, 3, 5, 7, 9]}),
    ("salt", {"p": 1}),
    ("salt", {"p": 8, "conv_heights": [3, 5]}),
    ("salt", {"p": 5, "share": True}),
    ("salt", {"p": 5, "partition_by": "real", "layers": 2}),
    ("salt", {"conv_heights": []}),
    ("salt", {"partition": False}),
    ("salt", {"partition": "keys"}),
    ("salt", {"partition": "values"}),
    ("salt", {"d_model": 24, "heads": 3, "init": "torch"}),
]


PUBLISHED = [(name, options | {"mask": "published"}) for name, options in VARIANTS if "partition_by" not in options]


@torch.no_grad()
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_real_mask_is_the_network_on_real_particles_alone(name, options):
    model = shaken(name, sort="none", **options)
    batch = doubled(random_jets(5, 24, seed=3))
    lengths = batch.mask.sum(1).tolist()
    expected = naive(model, batch, lengths)
    torch.testing.assert_close(model(batch), expected)
    torch.testing.assert_close(model(resized(batch, 32)), expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *VARIANTS,
        *((name, options | {"mask": "published"}) for name, options in VARIANTS if "partition_by" not in options),
    ],
)
def test_kernels_give_what_the_formulas_give(name, options):
    model, batch = shaken(name, **options), doubled(random_jets(5, 24, seed=3))
    with fast.off():
        expected = model(batch)
    torch.testing.assert_close(model(batch), expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"), [item for item in VARIANTS if "partition_by" not in item[1] and item[1].get("p") != 5]
)
def test_published_mask_is_the_network_on_all_slots(name, options):
    """Padding as zero rows that take part, at the fixed length, whatever the width of the batch."""
    model = shaken(name, sort="none", mask="published", **options)
    batch = doubled(random_jets(4, 24, seed=4))
    expected = naive(model, resized(batch, 32))
    torch.testing.assert_close(model(batch), expected)
    torch.testing.assert_close(model(resized(batch, 32)), expected)
    masked = shaken(name, sort="none", mask="real", **options)(batch)
    assert (masked[1:] - expected[1:]).abs().max() > 1e-3, "the two readings of padding must differ"


@torch.no_grad()
def test_transformer_small():
    model = shaken("transformer_small", layers=2)
    batch = doubled(random_jets(4, 24, seed=5))
    for index, real in enumerate(batch.mask.sum(1).tolist()):
        x = functional.relu(model.embed(batch.features[index, :real]))
        for block in model.blocks:
            attention = block.attention
            rows = [layer(x).view(real, 4, 4) for layer in (attention.query, attention.key, attention.value)]
            weights = (torch.einsum("ihe,jhe->hij", rows[0], rows[1]) / 2).softmax(-1)
            x = block.norm1(x + attention.out(torch.einsum("hij,jhe->ihe", weights, rows[2]).flatten(1)))
            x = block.norm2(x + block.fc2(functional.relu(block.fc1(x))))
        logits = model.head(x.max(0).values)
        torch.testing.assert_close(model(batch)[index], logits)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("folded", [True, False])
def test_folded_convolution_and_its_gradient(folded):
    """One Conv1d is the mean of the separate Conv2d, forward and backward, for even and odd p; so is the formula."""
    torch.manual_seed(0)
    for mixtures, heights in ((4, (1, 3, 5)), (1, (1, 3)), (5, (7, 3, 3)), (2, (9,))):
        convolution = ScoreConvolution(heights, mixtures, "keras").double()
        with torch.no_grad():
            convolution.biases += torch.randn(len(heights))
        scores = torch.randn(2, 3, mixtures, 11, dtype=torch.float64, requires_grad=True)
        image = scores.flatten(0, 1).transpose(1, 2)[:, None]
        separate = [
            functional.conv2d(image, kernel[None, None], bias[None], padding="same")
            for kernel, bias in zip(convolution.kernels, convolution.biases, strict=True)
        ]
        expected = torch.stack(separate).mean(0)[:, 0].transpose(1, 2).view_as(scores)
        actual = (
            convolved(scores, list(convolution.kernels), convolution.biases, convolution.column)
            if folded
            else convolution(scores.mT).mT
        )
        torch.testing.assert_close(actual, expected)
        inputs = [scores, *convolution.parameters()]
        weight = torch.randn_like(actual)
        for one, other in zip(
            torch.autograd.grad((actual * weight).sum(), inputs),
            torch.autograd.grad((expected * weight).sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


def test_real_partitions():
    mask = torch.arange(12) < torch.tensor([[12], [7], [3], [1], [0]])
    slots, filled = real_partitions(mask, 4)
    for jet, real in enumerate(mask.sum(1).tolist()):
        for j in range(4):
            members = slots[jet].view(4, -1)[j][filled[jet].view(4, -1)[j]].tolist()
            assert members == [i for i in range(real) if i * 4 // real == j]


def test_keras_initialisers():
    torch.manual_seed(0)
    attention = build("salt", n_features=3, n_classes=5, max_particles=1000, init="keras").blocks[0].attention
    full = build("linformer", n_features=3, n_classes=5, max_particles=1000, init="keras").blocks[0].attention
    for tensor, limit in [
        (attention.key_projection.weight, math.sqrt(6 / (4 * (4 + 250)))),
        (full.value_projection.weight, math.sqrt(6 / (4 * (1000 + 4)))),
        (attention.query.weight, math.sqrt(6 / 32)),
        (attention.convolution.kernels[2], math.sqrt(6 / (2 * 5 * 4))),
    ]:
        assert tensor.abs().max() <= limit
        assert tensor.abs().max() > 0.8 * limit
        assert abs(tensor.std().item() / (limit / math.sqrt(3)) - 1) < 0.25
    assert not attention.out.bias.any() and not attention.convolution.biases.any()


JET_KEYS = ["auto", "kt", "pt", "delta_R", "eta", "phi", "random", "morton", "published_kt", "published_pt"]


def presorted(batch: Batch, key: torch.Tensor) -> Batch:
    order = torch.stack([torch.tensor(sorted(range(len(row)), key=lambda i: -row[i])) for row in key.tolist()])
    return batch._replace(features=batch.features.gather(1, order[..., None].expand_as(batch.features)))


@torch.no_grad()
@pytest.mark.parametrize("mask", ["real", "published"])
@pytest.mark.parametrize("sort", JET_KEYS)
def test_input_order_does_not_matter(sort, mask):
    model = shaken("salt", sort=sort, mask=mask)
    batch = doubled(random_jets(4, 24, seed=6))
    torch.testing.assert_close(model(permuted(batch)), model(batch))
    assert not model.ordered
    assert shaken("salt", sort="none").ordered


@torch.no_grad()
def test_sort_keys_mean_what_they_say():
    """A sorting model equals an unsorted one on particles that were sorted by hand."""
    batch = doubled(random_jets(4, 24, seed=7, full=True))
    px, py = batch.vectors[..., 0], batch.vectors[..., 1]
    pt, (deta, dphi) = torch.hypot(px, py), batch.coordinates.unbind(-1)
    x = batch.features
    keys = {
        "kt": pt * torch.hypot(deta, dphi),
        "auto": kinematics.kt(batch.vectors, batch.coordinates),
        "pt": pt,
        "delta_R": torch.hypot(deta, dphi),
        "eta": deta,
        "phi": dphi,
        "published_kt": x[..., 2] * torch.hypot(x[..., 5], x[..., 6]),
    }
    for sort, key in keys.items():
        sorting = shaken("salt", sort=sort, published_columns=[2, 5, 6])
        torch.testing.assert_close(sorting(batch), shaken("salt", sort="none")(presorted(batch, key)), msg=sort)


@torch.no_grad()
def test_morton_order_keeps_neighbours_together():
    """Bit interleaving by hand; and a Z-curve visits near points one after another."""
    points = random_points(1, 200).coordinates[0]
    for places in (points, points[:, :2]):
        cells = ((places + 1) * (CELLS // 2)).long().clamp(0, CELLS - 1).tolist()
        width = places.shape[1]
        expected = [
            sum((cell >> bit & 1) << (bit * width + axis) for axis, cell in enumerate(row) for bit in range(16))
            for row in cells
        ]
        assert morton_code(places).tolist() == expected
    ordered = points[morton_code(points).argsort()]
    assert (ordered[1:] - ordered[:-1]).norm(dim=1).mean() < 0.6 * (points[1:] - points[:-1]).norm(dim=1).mean()


@torch.no_grad()
@pytest.mark.parametrize("options", [{"p": 1}, {}, {"p": 5, "mask": "published"}])
def test_identity_convolution_starts_as_the_network_without(options):
    begun = build("salt", n_features=17, n_classes=10, max_particles=32, conv_init="identity", **options)
    plain = build("salt", n_features=17, n_classes=10, max_particles=32, conv_heights=[], **options)
    plain.load_state_dict({key: item for key, item in begun.state_dict().items() if ".convolution." not in key})
    torch.testing.assert_close(begun(random_jets()), plain(random_jets()))
    drawn = build("salt", n_features=17, n_classes=10, max_particles=32, **options)
    assert {key: item.shape for key, item in begun.state_dict().items()} == {
        key: item.shape for key, item in drawn.state_dict().items()
    }


@torch.no_grad()
def test_axis_keys_of_points():
    clouds = random_points(3, 30)
    for axis, sort in enumerate("xyz"):
        sorting = build("salt", n_features=3, n_classes=4, max_particles=30, sort=sort)
        plain = build("salt", n_features=3, n_classes=4, max_particles=30, sort="none")
        plain.load_state_dict(sorting.state_dict())
        by_hand = presorted(clouds, clouds.coordinates[..., axis])
        torch.testing.assert_close(sorting(clouds), plain(by_hand))


def test_mistakes():
    for options, words in [
        ({"conv_heights": [2]}, "odd"),
        ({"heads": 3}, "divide"),
        ({"p": 0}, "at least 1"),
        ({"mask": "published", "partition_by": "real"}, "mask: real"),
        ({"share": True, "partition": "keys"}, "share"),
        ({"published_columns": [1]}, "pT, eta and phi"),
        ({"sort": "energy"}, "sort"),
    ]:
        with pytest.raises(JetloomError, match=words):
            build("salt", n_features=17, n_classes=10, **options)
    with pytest.raises(JetloomError, match="needs jets"):
        build("salt", n_features=3, n_classes=10, sort="kt")(random_points(2, 20))
    with pytest.raises(JetloomError, match="needs point clouds"):
        build("salt", n_features=17, n_classes=10, sort="z")(random_jets())
    with pytest.raises(JetloomError, match="published_columns"):
        build("salt", n_features=2, n_classes=10, sort="published_kt")(
            random_points(2, 20)._replace(features=torch.zeros(2, 20, 2))
        )
    with pytest.raises(JetloomError, match="max_particles = 16"):
        build("salt", n_features=17, n_classes=10, max_particles=16)(random_jets())


def test_equal_keys_stay_in_the_order_of_the_slots():
    """Twins have one kT; numpy's argsort of the author code leaves their order open, ours is that of a stable one."""
    batch = tower_jets(6, 41)
    key = sort_key(batch, "kt")
    ties = (key[:, :, None] == key[:, None]) & batch.mask[:, :, None] & batch.mask[:, None]
    assert ties.sum() > batch.mask.sum() + 20
    order = largest_first(real_first(key, batch.mask))
    for jet, real in enumerate(batch.mask.sum(1).tolist()):
        assert order[jet, :real].tolist() == numpy.argsort(-key[jet, :real].numpy(), kind="stable").tolist()
