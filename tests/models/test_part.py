"""ParT against its authors' code, the published counts, and its behaviour in training."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.norm import RealBatchNorm
from jetloom.models.part import ParT
from jetloom.models.published import own_names
from tests.models.jets import extreme_jets, joined, random_jets, random_points, resized, tower_jets
from tests.models.part_peer import ask_part


@pytest.mark.parametrize(("features", "number"), [(17, 2_143_486), (13, 2_142_958), (7, 2_142_166)])
def test_parameters(features, number):
    model = build("part", n_features=features, n_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == number
    assert len(model.state_dict()) == 235


def test_parameters_without_pairs():
    """Both spellings of the plain model."""
    for model in (
        build("part_plain", n_features=17, n_classes=10, preset="jetclass"),
        build("part", n_features=17, n_classes=10, pair_bias=False),
    ):
        assert sum(parameter.numel() for parameter in model.parameters()) == 2_133_918


SHAPES = {
    "cls_token": (1, 1, 128),
    "embed.input_bn.running_mean": (17,),
    "embed.embed.1.weight": (128, 17),
    "embed.embed.7.weight": (128, 512),
    "pair_embed.embed.0.weight": (4,),
    "pair_embed.embed.10.weight": (8, 64, 1),
    "pair_embed.embed.11.running_var": (8,),
    "blocks.7.c_attn": (8,),
    "blocks.7.w_resid": (128,),
    "blocks.0.attn.in_proj_weight": (384, 128),
    "blocks.0.attn.out_proj.bias": (128,),
    "blocks.0.post_fc_norm.weight": (512,),
    "cls_blocks.1.fc2.weight": (128, 512),
    "norm.bias": (128,),
    "fc.0.weight": (10, 128),
}


def test_names_of_published_checkpoints():
    model = build("part", n_features=17, n_classes=10)
    published = {name: torch.empty(shape) for name, shape in SHAPES.items()}
    state = own_names(model, published)
    assert len(state) == len(SHAPES)
    assert all(model.state_dict()[name].shape == value.shape for name, value in state.items())


@torch.no_grad()
@pytest.mark.parametrize(("particles", "flops", "digits"), [(50, 211_094_016, 0), (128, 670e6, 5e-3)])
def test_flops(particles, flops, digits):
    """LLoCa (arXiv:2505.20280) quotes 211 M at 50 particles by this counter; at 128 it counts 670 M for their code."""
    model = build("part", n_features=17, n_classes=10).eval()
    batch = random_jets(1, particles, full=True)
    # The counter knows the matrix products of the plain attention, not the fused kernel of the CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(batch)
    assert counter.get_total_flops() == pytest.approx(flops, rel=digits, abs=0)


def macs_of_2022(model: ParT, particles: int) -> int:
    """Multiply-accumulates by the rules of weaver-core 0.4: no LayerNorm, activation, dropout, head scale or sum."""
    pairs = particles * (particles + 1) // 2

    def linear(layer: nn.Linear, rows: int) -> int:
        return rows * layer.weight.numel() + layer.out_features  # the bias is counted for one row only

    def attention(queries: int, keys: int, width: int, heads: int) -> int:
        project = (width * width + width) * (queries + 2 * keys) + queries * width  # with the scale of the query
        weigh = 2 * queries * keys * width + heads * queries * keys  # two products and the softmax
        return project + weigh + queries * (width * width + width)

    total = linear(model.head, 1)
    for layer in [model.embed.input_bn, *model.embed.embed]:
        if isinstance(layer, nn.Linear):
            total += linear(layer, particles)
        elif isinstance(layer, RealBatchNorm):
            total += 2 * layer.num_features * particles
    for layer in model.pair_embed.embed if model.pair_embed else []:
        if isinstance(layer, nn.Conv1d):
            total += pairs * (layer.weight.numel() + layer.out_channels)
        elif isinstance(layer, RealBatchNorm):
            total += 2 * layer.num_features * pairs
    for blocks, queries, keys in ((model.blocks, particles, particles), (model.readout.cls_blocks, 1, particles + 1)):
        for block in blocks:
            total += attention(queries, keys, len(block.w_resid), len(block.c_attn))
            total += linear(block.fc1, queries) + linear(block.fc2, queries)
    return total


@pytest.mark.parametrize(("name", "macs"), [("part", 341_563_674), ("part_plain", 262_570_266)])
def test_macs_of_the_paper(name, macs):
    """340 M and 260 M of the paper, at 128 particles."""
    assert macs_of_2022(build(name, n_features=17, n_classes=10), 128) == macs


def compare(answer, batch, channel_order, pairs=True):
    model = build("part" if pairs else "part_plain", n_features=batch.features.shape[-1], n_classes=10,
                  channel_order=channel_order)  # fmt: skip
    model.load_state_dict(own_names(model, answer["state"]))
    with torch.no_grad():
        logits = model.eval()(batch)
    assert answer["logits"].std() > 0.05
    torch.testing.assert_close(logits, answer["logits"], rtol=1e-5, atol=1e-5)
    return model


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("features", "pairs", "steps"),
    [(17, True, 0), (13, True, 0), (7, True, 0), (17, False, 0), (17, True, 10), (17, False, 10)],
)
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_parity(request, version, features, pairs, steps):
    """Same weights, same jets, same logits as the authors' code, fresh and after ten steps of training."""
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    batch = random_jets(6, 40, n_features=features, seed=4)
    # At first scales and offsets are disturbed, so that none of them could be forgotten.
    answer = ask_part(directory, batch, pairs, steps=steps, noise=0.0 if steps else 0.02)
    compare(answer, batch, f"weaver{version}", pairs)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_parity_where_logarithms_end(request, version):
    """Delta R = 0, pT = 0 and m2 <= 0: towers and photons at one place, no energy, one particle.

    Along the beam the authors' code gives NaN, which ours does not.
    """
    directory = request.getfixturevalue("weaver_0_4") if version == "0.4" else None
    kinds = extreme_jets(41, n_features=7)
    along_beam = kinds.pop("along the beam")
    batch = joined([tower_jets(8, 41), *kinds.values()])
    model = compare(ask_part(directory, batch, noise=0.02), batch, f"weaver{version}")
    assert ask_part(directory, along_beam, noise=0.02)["logits"].isnan().all()
    assert model(along_beam).isfinite().all()


def test_channel_orders_are_not_exchangeable():
    batch = random_jets(6, 40, seed=4)
    answer = ask_part(None, batch, noise=0.02)
    with pytest.raises(AssertionError):
        compare(answer, batch, "weaver0.4")


def test_one_training_step_of_full_jets_is_that_of_the_authors(weaver_0_4):
    """Where no slot is padded, the statistics are the same too: so are the weights after a step without dropout."""
    batch = random_jets(6, 30, full=True)
    block = {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0}
    answers = [
        ask_part(weaver_0_4, batch, steps=steps, noise=0.02, arguments={"block_params": block}) for steps in (0, 1)
    ]
    model = build("part", n_features=17, n_classes=10, dropout=0.0)
    model.load_state_dict(own_names(model, answers[0]["state"]))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    nn.functional.cross_entropy(model(batch), batch.label).backward()
    optimizer.step()
    after = own_names(model, answers[1]["state"])
    for name, value in model.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, after[name], rtol=1e-4, atol=1e-5, msg=name)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(batch), answers[1]["logits"], rtol=2e-3, atol=2e-3)


def test_statistics_leave_padding_out():
    """The same jets in a wider bucket give the same running statistics and gradients in training."""
    narrow = random_jets(6, 20, seed=2)
    wide = resized(narrow, 40)
    states = []
    for batch in (narrow, wide):
        torch.manual_seed(0)
        model = build("part", n_features=17, n_classes=10, preset="tiny").train()
        nn.functional.cross_entropy(model(batch), batch.label).backward()
        gradients = {name: value.grad for name, value in model.named_parameters()}
        states.append(gradients | dict(model.named_buffers()))
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_mistakes():
    with pytest.raises(JetloomError, match="four-vectors"):
        build("part", n_features=3, n_classes=10, preset="tiny")(random_points())
    with pytest.raises(JetloomError, match="heads = 5 does not divide the width 32"):
        build("part", n_features=17, n_classes=10, preset="tiny", heads=5)
    with pytest.raises(JetloomError, match="channel_order"):
        build("part", n_features=17, n_classes=10, channel_order="weaver1")
