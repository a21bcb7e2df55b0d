"""OmniJet against torch's own layers; tokens, causality, and what a cache keeps."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.models.layers.packing import Packing
from jetloom.models.omnijet import Block, OmniJet
from jetloom.tasks.next_token.learn import TokenHead
from tests.models.jets import random_tokens, resized, with_padding

CODES = 40


def made(**changes: object) -> OmniJet:
    """With weights that are not the first ones."""
    torch.manual_seed(3)
    options: dict[str, object] = {"width": 32, "blocks": 2, "heads": 4} | changes
    network = build("omnijet", n_features=CODES, n_classes=3, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    assert isinstance(network, OmniJet)
    return network.eval()


def sizes(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_sizes() -> None:
    network = build("omnijet", n_features=8192, n_classes=2, preset="published")
    assert sizes(network) == 4_530_946
    assert sizes(network) - sizes(network.head) == 4_464_640
    assert [sizes(block) for block in network.blocks] == [788_992] * 3
    assert sizes(TokenHead(256, 8194)) == 2_105_858
    tiny = build("omnijet", n_features=512, n_classes=2, preset="tiny")
    assert sizes(tiny) == 132_480 + 4_290
    assert sizes(TokenHead(64, 514)) == 33_410


def test_tokens() -> None:
    code = torch.tensor([[7, 0, 39], [5, -99, 123], [-5, 8, 9]], dtype=torch.int16)[..., None]
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    tokens, there = made().tokens(Batch(code, None, torch.zeros(3, 3, 0), mask))
    stop = CODES + 1
    assert tokens.tolist() == [[0, 8, 1, 40, stop], [0, 6, stop, stop, stop], [0, stop, stop, stop, stop]]
    assert there.sum(1).tolist() == [5, 3, 2]
    assert there[1].tolist() == [True, True, True, False, False]
    assert tokens.dtype == torch.int64


@torch.no_grad()
def test_a_code_that_is_shifted_says_something_else() -> None:
    """Embeddings by hand: row c + 1 of the table is that of code c, row 0 the start's, the last one the stop's."""
    network, batch = made(blocks=1), random_tokens(codes=CODES, seed=2)
    table, number = network.embedding_table.weight, batch.mask.sum(1).tolist()
    assert table.shape == (CODES + 2, 32)
    for shift in (0, 1):
        expected = []
        for codes, length in zip(batch.features[..., 0].tolist(), number, strict=True):
            rows = [0, *(code + shift for code in codes[:length]), CODES + 1]
            jet = network.blocks[0](table[rows], Packing(torch.ones(1, len(rows)) > 0))
            expected.append(network.head.classes(functional.relu(network.head.embed(jet)).sum(0)))
        close = torch.allclose(network(batch), torch.stack(expected), atol=1e-4, rtol=1e-4)
        assert close == (shift == 1)


class Plain(nn.Module):
    """The block by torch's own layers: norms behind the sums, heads without bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key, self.query, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.mha = nn.MultiheadAttention(width, heads, bias=True, batch_first=True)
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def load(self, block: Block) -> "Plain":
        own = block.state_dict()
        self.mha.in_proj_weight.data = torch.cat(
            [own[f"mha_block.{name}.weight"] for name in ("query", "key", "value")]
        )
        self.mha.in_proj_bias.data.zero_()
        self.mha.out_proj.load_state_dict({"weight": own["mha_block.proj.weight"], "bias": own["mha_block.proj.bias"]})
        for layer, name in (
            (self.first, "ff_block.0"), (self.second, "ff_block.2"),
            (self.norms[0], "layernorm_1"), (self.norms[1], "layernorm_2"),
        ):  # fmt: skip
            layer.load_state_dict({part: own[f"{name}.{part}"] for part in ("weight", "bias")})
        return self

    def forward(self, x: Tensor) -> Tensor:
        later = torch.full((x.shape[1], x.shape[1]), -math.inf).triu(1)
        x = self.norms[0](x + self.mha(x, x, x, attn_mask=later, need_weights=False)[0])
        return self.norms[1](x + self.second(functional.relu(self.first(x))))


def test_a_block_is_its_formula() -> None:
    network, x = made(), torch.randn(5, 26, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    block = network.blocks[1]
    assert len(block.state_dict()) == 3 + 2 + 4 + 4, "queries, keys and values have no bias"
    plain = Plain(32, 4).load(block)
    results = []
    packing = Packing(torch.ones(5, 26) > 0)
    for layer in (lambda x: packing.unpack(block(packing.pack(x), packing)), plain):
        found = layer(x)
        results.append((found, *torch.autograd.grad(found.square().sum(), x)))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_network_is_its_blocks_without_positions() -> None:
    network, batch = made(), random_tokens(codes=CODES)
    tokens, there = network.tokens(batch)
    x = network.embedding_table.weight[tokens]
    for block in network.blocks:
        x = Plain(32, 4).load(block)(x)
    torch.testing.assert_close(network.read(tokens), x, atol=1e-5, rtol=1e-5)
    encoded = network.encode(batch)
    torch.testing.assert_close(encoded.particles[batch.mask], x[:, 1:-1][batch.mask], atol=1e-5, rtol=1e-5)
    assert not encoded.particles[~batch.mask].any() and torch.equal(encoded.mask, batch.mask)
    stop = torch.stack([row[some][-1] for row, some in zip(x, there, strict=True)])
    torch.testing.assert_close(encoded.jet, stop, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.read(tokens, there)[there], x[there], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("place", [0, 1, 5, 24])
def test_a_token_sees_none_that_comes_later(place: int) -> None:
    network, batch = made(), random_tokens(codes=CODES)
    tokens, _ = network.tokens(batch)
    changed = tokens.clone()
    changed[:, place] = (tokens[:, place] + 1 + torch.arange(4)) % (CODES + 2)
    one, two = network.read(tokens), network.read(changed)
    assert torch.equal(one[:, :place], two[:, :place])
    assert ((one[:, place:] - two[:, place:]).abs().amax(-1) > 1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("blocks", [1, 3])
def test_what_is_kept_of_earlier_tokens_is_enough(blocks: int) -> None:
    network, batch = made(blocks=blocks), random_tokens(codes=CODES)
    tokens, _ = network.tokens(batch)
    past = [None] * blocks
    for length in range(1, 27):
        known, past = network.read_next(tokens[:, length - 1], past)
        expected = network.read(tokens[:, :length])[:, -1]
        assert (known - expected).abs().max() <= 1e-5
        assert all(item.key.shape == item.value.shape == (4, 4, length, 8) for item in past)


@torch.no_grad()
def test_padding_is_not_seen() -> None:
    network, batch = made(), random_tokens(codes=CODES)
    expected = network(batch)
    other = with_padding(resized(batch, 40), float("nan"))
    assert other.features.min() < -1000
    torch.testing.assert_close(network(other), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.encode(other).jet, network.encode(batch).jet, atol=1e-5, rtol=1e-5)


def test_the_attention_alone_drops_out() -> None:
    network, batch = made(dropout=0.5), random_tokens(codes=CODES)
    torch.manual_seed(1)
    one = network.train()(batch)
    assert not torch.equal(network(batch), one)
    assert torch.equal(network.eval()(batch), network(batch))
    assert torch.equal(network(batch), made(dropout=0.0)(batch))


def test_a_width_that_the_heads_do_not_divide() -> None:
    with pytest.raises(JetloomError, match=r"^width: expected a multiple of heads = 3, got 32$"):
        made(heads=3)
