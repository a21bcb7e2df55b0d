"""The fast paths of SAL-T, Linformer and the small Transformer against plain formulas, forward and backward."""

import copy

import pytest
import torch
from torch import nn

from jetloom.models import build
from jetloom.models.fast import parts
from jetloom.models.layers.dyntanh import DynTanh
from jetloom.models.small_tagger import per_row
from tests.models.jets import random_jets

NAMES = [("salt", {}), ("salt", {"partition_by": "real"}), ("salt", {"mask": "published"}), ("linformer", {}),
         ("linformer", {"mask": "published", "sort": "none"}), ("transformer_small", {})]  # fmt: skip


def gradients(outcome: torch.Tensor, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad((outcome * torch.linspace(-1, 1, outcome.numel()).view(outcome.shape)).sum(), inputs)


def test_tanh_by_sigmoid():
    norm = DynTanh()
    with torch.no_grad():
        norm.alpha += 0.7
        norm.beta -= 0.2
    x = torch.cat([torch.linspace(-20, 20, 400), torch.tensor([-1e30, 1e30])]).view(1, 67, 6).requires_grad_()
    expected = torch.tanh(norm.alpha * x + norm.beta)
    actual = norm(x)
    assert (actual.abs() <= 1).all()
    torch.testing.assert_close(actual, expected, rtol=0, atol=3e-7)
    inputs = [x, norm.alpha, norm.beta]
    near = slice(0, 66)
    for one, other in zip(gradients(actual[:, near], inputs), gradients(expected[:, near], inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_linear_layer_on_transposed_memory():
    torch.manual_seed(0)
    linear = nn.Linear(5, 7).double()
    x = torch.randn(3, 11, 5, dtype=torch.float64, requires_grad=True)
    for rows in (x, x.transpose(1, 2).contiguous().transpose(1, 2)):
        actual, expected = per_row(linear, rows), linear(rows)
        torch.testing.assert_close(actual, expected)
        assert actual.transpose(1, 2).is_contiguous()
        inputs = [x, *linear.parameters()]
        for one, other in zip(gradients(actual, inputs), gradients(expected, inputs), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_parts_give_the_logits_of_the_whole(name, options, monkeypatch):
    """A pass without gradients works on a few jets at a time, sorted by length; rows come back in their places."""
    torch.manual_seed(1)
    model = build(name, n_features=17, n_classes=10, max_particles=32, **options).eval()
    batch = random_jets(37, 24, seed=9)
    batch.mask[5] = False
    whole = model(batch)
    assert whole.requires_grad
    calls = []
    model.register_forward_pre_hook(lambda module, given: calls.append(given[0].mask.shape))
    monkeypatch.setattr(parts, "SLOTS", 24 * 5)
    monkeypatch.setattr(parts, "CACHED", 0)
    with torch.no_grad():
        logits = model(batch)
    assert max(jets for jets, _ in calls) <= 5 and len(calls) == 8
    widths = [width for _, width in calls]
    assert widths == ([24] * 8 if "mask" in options else sorted(widths)) and widths[-1] == 24
    torch.testing.assert_close(logits, whole.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_single_precision_is_as_good_as_double(name, options):
    """The float32 path (tanh by sigmoid) against the float64 path (tanh), logits and every gradient."""
    torch.manual_seed(1)
    model = build(name, n_features=17, n_classes=10, max_particles=32, layers=2, **options)
    exact = copy.deepcopy(model).double()
    batch = random_jets(16, 24, seed=10)
    logits, expected = model(batch), exact(batch._replace(features=batch.features.double()))
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-5)
    for (key, one), other in zip(
        zip(dict(model.named_parameters()), gradients(logits, list(model.parameters())), strict=True),
        gradients(expected, list(exact.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(
            one.double(), other, rtol=1e-3, atol=2e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
