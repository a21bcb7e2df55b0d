"""MIParT: outputs of the author code on weights by a rule, published counts, and the equations in numpy."""

import math

import numpy
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.kinematics import pair_features
from jetloom.models import build
from jetloom.models.layers.packing import Packing
from jetloom.models.mipart import MIParT
from jetloom.models.published import own_names
from tests.models.check_values import fill, jet, scalars
from tests.models.jets import random_jets

SMALL = {"embedding": [8, 64], "pair_embedding": [8, 8, 64], "interaction_blocks": 1, "blocks": 1, "class_blocks": 1}
# Author code with 3 inputs and 2 classes: logits of a jet of five particles and of its first three.
AUTHORS = {False: [[6.64447128, 3.08896242], [6.6428494, 3.09038858]],
           True: [[6.64446495, 3.08896792], [6.64284831, 3.09038952]]}  # fmt: skip


def layer(module):
    """Weight and bias; a gain where the weight is one of a normalisation."""
    return [(module.weight, module.weight.dim() == 1), (module.bias, False)]


def of_block(block):
    """The parameters of a block in the order of the author code."""
    attention = block.attn
    if isinstance(attention, torch.nn.Linear):
        own = [(attention.weight, False)]
    else:
        own = [(attention.in_proj_weight, False), (attention.in_proj_bias, False), *layer(attention.out_proj)]
    scales = [(block.c_attn, True), (block.w_resid, True)]
    feed_forward = [*layer(block.fc1), *layer(block.post_fc_norm), *layer(block.fc2)]
    norms = layer(block.post_attn_norm) + layer(block.pre_fc_norm)
    return [*scales, *layer(block.pre_attn_norm), *own, *norms, *feed_forward]


def tensors(model: MIParT):
    """All of them in the order of the author code."""
    yield model.readout.cls_token, False
    pairs = model.pair_embed
    embeddings = [model.embed.input_bn, *model.embed.embed, *pairs.embed1.embed, pairs.convolution, pairs.norm]
    for module in embeddings:
        if not isinstance(module, torch.nn.GELU):
            yield from layer(module)
    for block in (*model.interaction_blocks, *model.particle_blocks, *model.readout.cls_blocks):
        yield from of_block(block)
    yield from layer(model.readout.norm)
    yield from layer(model.head)


@torch.no_grad()
@pytest.mark.parametrize("pre_activation", AUTHORS)
def test_outputs_of_the_author_code(pre_activation):
    model = build("mipart", n_features=3, n_classes=2, pre_activation=pre_activation, **SMALL).double().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 141_950
    fill(tensors(model))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    jets = Batch(scalars(5, 3).expand(2, -1, -1), jet(5).expand(2, -1, -1), torch.zeros(2, 5, 2).double(), mask)
    expected = torch.tensor(AUTHORS[pre_activation], dtype=torch.float64)
    torch.testing.assert_close(model(jets), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("row", "counts"),
    [("mipart", (656_949, 657_014, 657_806, 658_854)), ("mipart_l", (2_292_341, 2_292_470, 2_293_262, 2_294_822))],
)
@pytest.mark.parametrize("pre_activation", [False, True])
def test_published_counts(row, counts, pre_activation):
    with torch.device("meta"):
        models = [
            build(row, n_features=f, n_classes=c, pre_activation=pre_activation)
            for f, c in ((7, 1), (7, 2), (13, 2), (17, 10))
        ]
    assert tuple(sum(parameter.numel() for parameter in model.parameters()) for model in models) == counts


@torch.no_grad()
def test_flops():
    """225 M for MIParT-L at 50 particles, by the counter of arXiv:2505.20280."""
    model = build("mipart_l", n_features=17, n_classes=10).eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(random_jets(1, 50, full=True))
    assert counter.get_total_flops() == pytest.approx(225e6, abs=0.5e6)


class AuthorsNetwork:
    """The equations for one jet, from a state dict under the authors' names."""

    def __init__(self, state, heads: int, many: int, pre_activation: bool) -> None:
        self.state = {name: value.double().numpy() for name, value in state.items()}
        self.heads, self.many, self.pre_activation = heads, many, pre_activation

    def linear(self, name, x):
        weight = self.state[f"{name}.weight"]
        y = x @ weight.reshape(weight.shape[:2]).T
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def layer_norm(self, name, x):
        x = (x - x.mean(-1, keepdims=True)) / numpy.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def batch_norm(self, name, x):
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        return (x - mean) / numpy.sqrt(variance + 1e-5) * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def behind_attention(self, name, x, attended, heads):
        """Scale of the heads with the transposition of the published code, then the rest of the block."""
        scaled = attended.reshape(len(attended), heads, -1) * self.state[f"{name}.c_attn"][:, None]
        attended = scaled.transpose(0, 2, 1).reshape(len(attended), -1)
        x = x + self.layer_norm(f"{name}.post_attn_norm", attended)
        hidden = gelu(self.linear(f"{name}.fc1", self.layer_norm(f"{name}.pre_fc_norm", x)))
        hidden = self.layer_norm(f"{name}.post_fc_norm", hidden)
        return self.linear(f"{name}.fc2", hidden) + self.state[f"{name}.w_resid"] * x

    def attention(self, name, query, keys, bias=0.0):
        """Torch's multi-head attention."""
        weight, offset = self.state[f"{name}.attn.in_proj_weight"], self.state[f"{name}.attn.in_proj_bias"]
        width = query.shape[1]
        parts = [
            (x @ weight[i * width : (i + 1) * width].T + offset[i * width : (i + 1) * width])
            .reshape(len(x), self.heads, -1)
            .transpose(1, 0, 2)
            for i, x in enumerate((query, keys, keys))
        ]
        scores = parts[0] @ parts[1].transpose(0, 2, 1) / math.sqrt(width / self.heads) + bias
        found = (softmax(scores) @ parts[2]).transpose(1, 0, 2).reshape(len(query), -1)
        return self.linear(f"{name}.attn.out_proj", found)

    def pairs(self, features):
        """U1 and U2, (heads, N, N), from ln kT, ln z, ln Delta, ln m2, (N, N, 4)."""
        x = self.batch_norm("pair_embed.embed1.0", features)
        for number in (1, 4, 7):
            x = self.batch_norm(f"pair_embed.embed1.{number + 1}", self.linear(f"pair_embed.embed1.{number}", x))
            x = x if number == 7 and self.pre_activation else gelu(x)
        y = self.batch_norm("pair_embed.embed2.1", self.linear("pair_embed.embed2.0", x))
        y = y if self.pre_activation else gelu(y)
        return x.transpose(2, 0, 1), y.transpose(2, 0, 1)

    def __call__(self, features, vectors):
        x = self.batch_norm("embed.input_bn", features)
        for number in (0, 3):
            x = gelu(self.linear(f"embed.embed.{number + 1}", self.layer_norm(f"embed.embed.{number}", x)))
        scores, bias = self.pairs(pair_features(torch.from_numpy(vectors)).numpy())
        weights = softmax(scores)
        for name in sorted({name[:8] for name in self.state if name.startswith("blocks.")}):
            value = self.linear(f"{name}.attn.vv", self.layer_norm(f"{name}.pre_attn_norm", x))
            value = value.reshape(len(x), self.many, -1).transpose(1, 0, 2)
            x = self.behind_attention(name, x, (weights @ value).transpose(1, 0, 2).reshape(x.shape), self.many)
        normed = self.layer_norm("blocks2.0.pre_attn_norm", x)
        x = self.behind_attention("blocks2.0", x, self.attention("blocks2.0", normed, normed, bias), self.heads)
        token = self.state["cls_token"][0]
        normed = self.layer_norm("cls_blocks.0.pre_attn_norm", numpy.concatenate([token, x]))
        token = self.behind_attention("cls_blocks.0", token, self.attention("cls_blocks.0", token, normed), self.heads)
        return self.linear("fc.0", self.layer_norm("norm", token))[0]


def gelu(x):
    return x * 0.5 * (1 + numpy.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x):
    weights = numpy.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def authors_names(state):
    """Our state dict under the names of the author code, as its released files have them."""
    names = {
        "interaction_blocks.": "blocks.", "particle_blocks.": "blocks2.", "readout.": "", "head.": "fc.0.",
        "pair_embed.embed1.embed.": "pair_embed.embed1.", "pair_embed.convolution.": "pair_embed.embed2.0.",
        "pair_embed.norm.": "pair_embed.embed2.1.",
    }  # fmt: skip
    found = {}
    for name, value in state.items():
        start = next((start for start in names if name.startswith(start)), "")
        theirs = names.get(start, "") + name.removeprefix(start)
        if start == "interaction_blocks.":
            theirs = theirs.replace(".attn.weight", ".attn.vv.weight")
        found[theirs] = value
    return found


@pytest.mark.parametrize("pre_activation", [False, True])
def test_the_equations_after_training(pre_activation):
    """Heads of two channels, two interaction blocks; jets of every length, after ten steps with dropout."""
    torch.manual_seed(0)
    options = {"embedding": [10, 16], "pair_embedding": [6, 6, 8], "interaction_blocks": 2, "blocks": 1,
               "class_blocks": 1, "heads": 4, "ffn_ratio": 2, "pre_activation": pre_activation}  # fmt: skip
    model = build("mipart_l", n_features=17, n_classes=10, **options)
    jets = random_jets(6, 14, seed=3, shortest=1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(10):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(jets), jets.label).backward()
        optimizer.step()
    model = model.double().eval()
    jets = jets._replace(features=jets.features.double(), vectors=jets.vectors.double())
    state = authors_names(model.state_dict())
    network = AuthorsNetwork(state, heads=4, many=8, pre_activation=pre_activation)
    with torch.no_grad():
        logits = model(jets)
    for mask, features, vectors, expected in zip(jets.mask, jets.features, jets.vectors, logits, strict=True):
        found = network(features[mask].numpy(), vectors[mask].numpy())
        numpy.testing.assert_allclose(found, expected.numpy(), rtol=1e-8, atol=1e-8)
    fresh = build("mipart_l", n_features=17, n_classes=10, **options).double().eval()
    fresh.load_state_dict(own_names(fresh, {f"mod.{name}": value for name, value in state.items()}))
    with torch.no_grad():
        assert torch.equal(fresh(jets), logits)


def test_the_weights_of_interaction_blocks_are_dropped_anew_in_each():
    model = build("mipart", n_features=17, n_classes=2, preset="tiny", dropout=0.5)
    [block] = model.interaction_blocks
    weights, x = torch.ones(1, 16, 12, 12), torch.randn(12, 32)
    packing = Packing(torch.ones(1, 12, dtype=torch.bool))
    assert not torch.equal(block(x, packing, weights), block(x, packing, weights))
    block.eval()
    assert torch.equal(block(x, packing, weights), block(x, packing, weights))


def test_heads_divide_the_width():
    with pytest.raises(JetloomError, match=r"64 heads of interaction blocks.* do not divide the width 96"):
        build("mipart", n_features=7, n_classes=2, embedding=[128, 96])
    with pytest.raises(JetloomError, match="heads = 5 does not divide the width 64"):
        build("mipart", n_features=7, n_classes=2, heads=5)
