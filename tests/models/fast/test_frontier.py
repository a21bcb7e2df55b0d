"""Kernels of L-GATr-slim, LLoCa-Transformer and PHAT-JeT beside the formulas; no work for padding."""

import pytest
import torch

from jetloom.models import build
from tests.models.agreement import kernels_give_the_formulas, largest_tensor
from tests.models.jets import random_jets, resized

ROWS = [
    ("lgatr_slim", {}),
    ("lgatr_slim", {"vectors": 4, "heads": 2, "scalars": 6}),
    ("lgatr_slim", {"vectors": 3, "heads": 1}),
    ("lgatr_slim", {"version": 1}),
    ("lloca_transformer", {}),
    ("lloca_transformer", {"scalars": 0, "vectors": 2}),
    ("lloca_transformer", {"vectors": 0}),
    ("lloca_transformer", {"version": 1, "readout": "mean", "keep_variance": False}),
    ("phat_jet", {"d_model": 8, "d_ff": 16}),
]


@pytest.mark.parametrize(("name", "options"), ROWS)
def test_kernels_give_the_formulas(name, options):
    torch.manual_seed(1)
    model = build(name, n_features=17, n_classes=3, preset="tiny", **options).double().eval()
    kernels_give_the_formulas(model, 1e-9)


@pytest.mark.parametrize("name", ["lgatr_slim", "lloca_transformer"])
def test_padding_is_not_built(name):
    model, jets = build(name, n_features=17, n_classes=3, preset="tiny").eval(), random_jets(4, 12, seed=1)
    assert largest_tensor(model, resized(jets, 48)) == largest_tensor(model, jets)


def test_in_training_no_jet_is_padded_to_a_much_longer_one(monkeypatch):
    """Of 16 jets with three particles and one with 40: the largest tensor is that of the jets apart."""
    from jetloom.models.fast import parts

    monkeypatch.setattr(parts, "LEARNT", 160)
    model = build("lgatr_slim", n_features=17, n_classes=3, preset="tiny").train()
    widths: list[int] = []
    model.blocks[0].register_forward_hook(lambda _, given, __: widths.append(given[1].mask.shape[1]))
    jets = random_jets(17, 40, full=True, seed=1)
    model(jets._replace(mask=torch.arange(40) < torch.tensor([40] + 16 * [3])[:, None])).sum().backward()
    assert sorted(widths) == [7, 7, 7, 7, 44]
