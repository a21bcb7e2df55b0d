"""ParT of versions 2, 3 and 3.5 against weaver-core 0.5.3, and the published counts."""

import pytest
import torch

from jetloom.models import build
from jetloom.models.part_v3 import ParTV3
from jetloom.models.published import own_names
from tests.models.jets import random_jets
from tests.models.part_peer import ask_part

VERSIONS = {"v2": 2, "v3": 3, "v3.5": 3.5}
COUNTS = {"v2": (2_787_454, 2_788_246, 2_789_806), "v3": (2_767_926, 2_768_718, 2_770_278),
          "v3.5": (2_932_086, 2_932_878, 2_934_438)}  # fmt: skip
SIZES = {-2: (42_349, 43_006), -1: (249_773, 251_038), 0: (1_323_573, 1_326_054), 1: (7_908_405, 7_913_318),
         2: (44_725_317, 44_735_094)}  # fmt: skip


def count(**options) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build("part_v3", **options).parameters())


@pytest.mark.parametrize("version", COUNTS)
def test_published_counts(version):
    found = tuple(count(n_features=f, n_classes=c, version=version) for f, c in ((7, 2), (13, 2), (17, 10)))
    assert found == COUNTS[version]


@pytest.mark.parametrize("size", SIZES)
def test_published_counts_of_the_size_study(size):
    """With 7 features and one logit, with 17 and ten."""
    assert tuple(count(n_features=f, n_classes=c, size=size) for f, c in ((7, 1), (17, 10))) == SIZES[size]


@pytest.mark.seconds
@pytest.mark.parametrize("steps", [0, 10])
@pytest.mark.parametrize("version", VERSIONS)
def test_parity(version, steps):
    """Logits of the peer's weights, fresh and after ten steps of its training."""
    batch = random_jets(16, 30, seed=2)
    answer = ask_part(None, batch, steps=steps, noise=0.02, arguments={"version": VERSIONS[version]})
    model = build("part_v3", n_features=17, n_classes=10, version=version).eval()
    model.load_state_dict(own_names(model, answer["state"]))
    with torch.no_grad():
        torch.testing.assert_close(model(batch), answer["logits"], rtol=1e-4, atol=1e-5)
    assert answer["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_a_jet_goes_past_a_half_of_a_block_or_counts_more():
    torch.manual_seed(0)
    model = ParTV3(3, 2, embedding=(8,), pair_embedding=(4,), blocks=1, class_blocks=1, heads=2, drop_path=0.25).train()
    [block] = model.cls_blocks
    factor = block.kept(torch.ones(20_000, 5))[:, 0, 0]
    assert factor.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert factor.mean().item() == pytest.approx(1, abs=0.02)
    assert (factor == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (block.eval().kept(torch.ones(7, 5)) == 1).all()


def test_where_the_weights_start():
    torch.manual_seed(0)
    model = build("part_v3", n_features=17, n_classes=10)
    limit = (6 / 256) ** 0.5
    assert model.blocks[0].attn.in_proj.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    for number, block in enumerate(model.blocks, 1):
        largest = block.attn.out_proj.weight.abs().max().item()
        assert largest == pytest.approx(limit / (2 * number) ** 0.5, rel=0.02)
    assert not model.pair_embed.embed[1].bias.any()
    assert "pair_embed.embed.1.bias" not in model.state_dict()
