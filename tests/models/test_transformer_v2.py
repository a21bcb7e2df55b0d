"""The Transformer of the size study: published counts, and one block against its formula."""

import math

import pytest
import torch

from jetloom.models import build
from tests.models.jets import random_jets

COUNTS = {-2: (42_689, 43_306), -1: (250_625, 251_850), 0: (1_323_265, 1_325_706), 1: (7_900_673, 7_905_546),
          2: (44_665_345, 44_675_082)}  # fmt: skip


@pytest.mark.parametrize("size", COUNTS)
def test_published_counts(size):
    """With 7 features and one logit, with 17 and ten."""
    with torch.device("meta"):
        models = [build("transformer_v2", n_features=f, n_classes=c, size=size) for f, c in ((7, 1), (17, 10))]
    assert tuple(sum(x.numel() for x in model.parameters()) for model in models) == COUNTS[size]


@torch.no_grad()
def test_a_block_is_its_formula():
    """Particle by particle and head by head, in double precision."""
    torch.manual_seed(0)
    model = build("transformer_v2", n_features=17, n_classes=3, width=12, blocks=1, heads=3).double().eval()
    [block] = model.blocks
    block.norm1.weight.normal_(1, 0.2)
    block.norm2.weight.normal_(1, 0.2)
    jets = random_jets(2, 9, seed=1)
    jets = jets._replace(features=jets.features.double())
    found = model(jets)

    def rms(x, gain):
        return x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt() * gain

    for features, mask, logits in zip(jets.features, jets.mask, found, strict=True):
        items = torch.cat([torch.zeros(1, 17, dtype=torch.float64), features[mask]])
        mark = torch.zeros(len(items), 1, dtype=torch.float64)
        mark[0] = 1
        x = torch.cat([items, mark], 1) @ model.embed.weight.T + model.embed.bias
        y = rms(x, block.norm1.weight) @ block.query_key_value.weight.T + block.query_key_value.bias
        heads = []
        for head in range(3):
            query, key, value = (y[:, part * 12 + head : (part + 1) * 12 : 3] for part in range(3))
            heads.append((query @ key.T / math.sqrt(4)).softmax(-1) @ value)
        x = x + torch.cat(heads, 1) @ block.out.weight.T + block.out.bias
        gate, hidden = (rms(x, block.norm2.weight) @ block.fc1.weight.T + block.fc1.bias).split(24, 1)
        gate = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
        x = x + (gate * hidden) @ block.fc2.weight.T + block.fc2.bias
        torch.testing.assert_close(logits, x[0] @ model.head.weight.T + model.head.bias, rtol=1e-9, atol=1e-9)
