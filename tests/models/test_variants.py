"""The plain Transformer and its variants: counts of the references, and each variant against its definition."""

import math

import pytest
import torch
from torch.nn import functional

from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.attention import CLOSED
from jetloom.models.layers.lsh_attention import ITSELF, hash_buckets, lsh_attend, rotations
from jetloom.models.layers.sparse_attention import nearest, strided
from jetloom.models.part import ParT
from jetloom.models.particlenet import ParticleNet
from jetloom.models.transformer import Transformer
from tests.models.jets import random_jets


@pytest.mark.parametrize(
    ("name", "features", "classes", "options", "parameters"),
    [
        ("transformer", 17, 10, {}, 2_133_918),
        ("transformer", 7, 2, {}, 2_131_566),
        ("macaron", 17, 10, {}, 2_138_014),
        ("macaron", 17, 10, {"ffn_ratio": 4}, 3_198_878),
        ("transformer", 17, 10, {"macaron": True, "ffn_ratio": 2}, 2_138_014),
        ("reformer", 17, 10, {}, 2_001_822),
        ("reformer", 17, 10, {"attention": "shared_qk"}, 2_001_822),
        ("sparse_attention", 17, 10, {}, 2_133_918),
        ("sparse_attention", 17, 10, {"attention": "nearest"}, 2_133_918),
        ("perceiver", 17, 10, {}, 1_529_166),
        ("perceiver", 17, 10, {"repeats": 2, "self_layers": 4}, 2_124_238),
        ("pct", 7, 2, {}, 171_202),
        ("simple_pct", 7, 2, {}, 55_810),
        ("lorentznet", 7, 2, {}, 224_072),
        ("lorentznet", 8, 2, {"scalars": "features"}, 227_096),
        ("lorentznet", 10, 10, {"scalars": "features"}, 228_688),
    ],
)
def test_parameters(name, features, classes, options, parameters):
    model = build(name, n_features=features, n_classes=classes, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("row", "network"),
    [
        ("macaron", lambda: Transformer(7, 2, macaron=True, ffn_ratio=2)),
        ("sparse_attention", lambda: Transformer(7, 2, attention="strided")),
        ("reformer", lambda: Transformer(7, 2, attention="lsh")),
        ("part_plain", lambda: ParT(7, 2, pair_bias=False)),
        ("particlenet_lite", lambda: ParticleNet(7, 2, neighbours=7, convolutions=((32,) * 3, (64,) * 3), hidden=128)),
    ],
)
def test_a_row_is_its_class_with_what_it_fixes(row, network):
    torch.manual_seed(3)
    ours = build(row, n_features=7, n_classes=2)
    torch.manual_seed(3)
    theirs = network()
    assert type(ours) is type(theirs) and ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


SMALL = dict(embedding=[16], blocks=2, heads=2, ffn_ratio=2, dropout=0.0, readout="mean", normformer=False)


def small(name: str, **options):
    torch.manual_seed(4)
    model = build(name, n_features=17, n_classes=3, **(SMALL | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def test_plain_transformer_is_part_without_pairs():
    """With the default options, weights and all: the same network under other names."""
    torch.manual_seed(0)
    ours = build("transformer", n_features=17, n_classes=10).eval()
    theirs = build("part_plain", n_features=17, n_classes=10, channel_order="weaver0.5").eval()
    state = [value for name, value in theirs.state_dict().items()]
    named = dict(theirs.named_parameters())
    moved = {}
    for name in ours.state_dict():
        other = (
            name.replace("attention.norm", "pre_attn_norm")
            .replace("attention.attn", "attn")
            .replace("attention.head_scale", "c_attn")
            .replace("attention.out_norm", "post_attn_norm")
            .replace("after.norm", "pre_fc_norm")
            .replace("after.hidden_norm", "post_fc_norm")
            .replace("after.residual_scale", "w_resid")
            .replace("after.", "")
        )
        other = other.replace("layers.", "blocks.") if other.startswith("layers.") else other
        moved[name] = other
    assert sorted(moved.values()) == sorted(theirs.state_dict()) and len(state) == len(moved)
    for parameter in named.values():
        parameter += 0.05 * torch.randn_like(parameter)
    ours.load_state_dict({name: theirs.state_dict()[other] for name, other in moved.items()})
    batch = random_jets(3, 20)
    torch.testing.assert_close(ours(batch), theirs(batch), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pre_ln_layer_against_pytorch():
    """Without extras a layer is torch.nn.TransformerEncoderLayer with norm_first."""
    model = small("transformer", blocks=1)
    layer = model.layers[0]
    peer = torch.nn.TransformerEncoderLayer(16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    peer.load_state_dict(
        {
            "self_attn.in_proj_weight": layer.attention.attn.in_proj_weight,
            "self_attn.in_proj_bias": layer.attention.attn.in_proj_bias,
            "self_attn.out_proj.weight": layer.attention.attn.out_proj.weight,
            "self_attn.out_proj.bias": layer.attention.attn.out_proj.bias,
            "linear1.weight": layer.after.fc1.weight,
            "linear1.bias": layer.after.fc1.bias,
            "linear2.weight": layer.after.fc2.weight,
            "linear2.bias": layer.after.fc2.bias,
            "norm1.weight": layer.attention.norm.weight,
            "norm1.bias": layer.attention.norm.bias,
            "norm2.weight": layer.after.norm.weight,
            "norm2.bias": layer.after.norm.bias,
        }
    )
    batch = random_jets(4, 20)
    x = model.embed(batch.features.flatten(0, 1), None).view(4, 20, 16)
    y = peer(x, src_key_padding_mask=~batch.mask)
    mean = torch.stack([row[real].mean(0) for row, real in zip(y, batch.mask, strict=True)])
    torch.testing.assert_close(model(batch), model.head(model.readout.norm(mean)), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_macaron_takes_half_steps():
    layer = small("macaron", blocks=1).layers[0]
    x = torch.randn(6, 16)

    def network(part, y):
        return part.fc2(functional.gelu(part.fc1(part.norm(y))))

    y = x + 0.5 * network(layer.before, x)
    torch.testing.assert_close(layer.before(x), y)
    torch.testing.assert_close(layer.after(y), y + 0.5 * network(layer.after, y))


def test_strided_pattern():
    allowed = strided(torch.ones(2, 30, dtype=torch.bool), 6)
    for i in range(30):
        for j in range(30):
            assert allowed[i, j] == (abs(i - j) <= 3 or (i - j) % 6 == 0)


def test_nearest_pattern():
    batch = random_jets(4, 15)
    allowed = nearest(batch.coordinates, batch.mask, 3) & batch.mask[:, None]
    for jet in range(4):
        real = int(batch.mask[jet].sum())
        places = batch.coordinates[jet, :real]
        for i in range(real):
            by_distance = sorted(range(real), key=lambda j: ((places[i] - places[j]) ** 2).sum().item())
            assert set(allowed[jet, i].nonzero()[:, 0].tolist()) == set(by_distance[:4]) and allowed[jet, i, i]


@torch.no_grad()
@pytest.mark.parametrize("attention", ["strided", "nearest"])
def test_sparse_attention_that_sees_everything_is_full(attention):
    options = {"stride": 200, "neighbours": 200}
    sparse, full = small("sparse_attention", attention=attention, **options), small("transformer")
    full.load_state_dict(sparse.state_dict())
    batch = random_jets(4, 20)
    torch.testing.assert_close(sparse(batch), full(batch), rtol=1e-4, atol=1e-5)
    narrow = small("sparse_attention", attention=attention, stride=4, neighbours=3)
    narrow.load_state_dict(sparse.state_dict())
    assert (narrow(batch) - full(batch)).abs().max() > 1e-4


def naive_lsh(query, value, directions, chunk):
    """One head of one jet (R, d), from the description: sort by bucket, cut, look at own and previous chunk."""
    number, width = query.shape
    outs, totals = [], []
    for turn in directions:
        rotated = query @ turn
        bucket = torch.cat([rotated, -rotated], 1).argmax(1).tolist()
        order = sorted(range(number), key=lambda i: (bucket[i], i))
        place = {particle: position for position, particle in enumerate(order)}
        out, total = torch.zeros(number, value.shape[1]), torch.zeros(number)
        for i in range(number):
            mine = place[i] // chunk
            seen = [j for j in range(number) if place[j] // chunk in (mine - 1, mine)]
            others = [j for j in seen if j != i]
            if others:
                scores = torch.stack([query[i] @ query[j] / query[j].norm() for j in others]) / math.sqrt(width)
                total[i] = scores.logsumexp(0)
                out[i] = scores.softmax(0) @ value[others]
            else:
                total[i], out[i] = ITSELF, value[i]
        outs.append(out)
        totals.append(total)
    share = torch.stack(totals).softmax(0)
    return (torch.stack(outs) * share[..., None]).sum(0)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_lsh_attention(chunk):
    torch.manual_seed(0)
    lengths = [20, 13, 5, 1]
    mask = torch.arange(20) < torch.tensor(lengths)[:, None]
    query, value = torch.randn(4, 2, 20, 6), torch.randn(4, 2, 20, 3)
    value = torch.cat([value, value], -1)
    directions = rotations(6, 3, 4)
    actual = lsh_attend(query, value, mask, directions, chunk)
    for jet, real in enumerate(lengths):
        for head in range(2):
            expected = naive_lsh(query[jet, head, :real], value[jet, head, :real], directions, chunk)
            torch.testing.assert_close(actual[jet, head, :real], expected, rtol=1e-4, atol=1e-5)


def test_hash_prefers_near_directions():
    """Vectors at a small angle fall into one bucket more often than those at a large one, and signs matter."""
    torch.manual_seed(0)
    x = torch.randn(500, 8)
    directions = rotations(8, 16, 8)
    near, far = x + 0.1 * torch.randn_like(x), torch.randn_like(x)
    same = [(hash_buckets(x, directions) == hash_buckets(y, directions)).float().mean() for y in (near, far, -x)]
    assert same[0] > 0.8 and abs(same[1] - 1 / 8) < 0.02 and same[2] == 0
    assert hash_buckets(x, directions).unique().tolist() == list(range(8))


@torch.no_grad()
def test_reformer_with_one_chunk_is_shared_attention():
    """A chunk that holds all particles sees what full attention with shared queries sees."""
    hashed = small("reformer", bucket_size=32, max_particles=64, hashes=3)
    full = small("reformer", attention="shared_qk")
    full.load_state_dict({name: value for name, value in hashed.state_dict().items() if "directions" not in name})
    batch = random_jets(4, 24)
    torch.testing.assert_close(hashed(batch), full(batch), rtol=1e-4, atol=1e-5)
    small_chunks = small("reformer", bucket_size=4, max_particles=64, hashes=3)
    small_chunks.load_state_dict(full.state_dict(), strict=False)
    assert (small_chunks(batch) - full(batch)).abs().max() > 1e-4
    assert CLOSED < ITSELF < -1e3


@torch.no_grad()
def test_perceiver_cross_attention():
    """Latents look at real particles only, through a normalisation of their own; against torch's attention."""
    torch.manual_seed(0)
    model = build("perceiver", n_features=17, n_classes=3, embedding=[16], latents=5, self_layers=0, heads=2).eval()
    layer = model.layers[0]
    peer = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    peer.load_state_dict(layer.attn.state_dict())
    batch = random_jets(3, 18)
    particles = model.embed(batch.features.flatten(0, 1), None).view(3, 18, 16)
    latents = model.latents.expand(3, -1, -1)
    context = layer.context_norm(particles)
    attended, _ = peer(layer.norm(latents), context, context, key_padding_mask=~batch.mask)
    y = latents + attended
    y = y + layer.feed_forward.fc2(functional.gelu(layer.feed_forward.fc1(layer.feed_forward.norm(y))))
    torch.testing.assert_close(model(batch), model.head(y.mean(1)), rtol=1e-4, atol=1e-5)


def test_mistakes():
    with pytest.raises(JetloomError, match="single bucket"):
        build("reformer", n_features=7, n_classes=2, max_particles=32, bucket_size=32)
    with pytest.raises(JetloomError, match="divide"):
        build("transformer", n_features=7, n_classes=2, heads=7)
    with pytest.raises(JetloomError, match="at least 1"):
        build("sparse_attention", n_features=7, n_classes=2, stride=0)
