"""Steps that compute again what they did not keep, against the plain ones: values, gradients, statistics."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from jetloom.models.layers.dropout import dropout
from jetloom.models.layers.feedforward import gelu_dropout_norm


def disturbed(norm):
    norm = norm.double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return norm, copy.deepcopy(norm)


def compare(ours, theirs, x, norms):
    weight = torch.randn_like(ours)
    found = [
        [result, *torch.autograd.grad((result * weight).sum(), [x, *norm.parameters()]), *norm.buffers()]
        for result, norm in zip((ours, theirs), norms, strict=True)
    ]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("training", [True, False])
def test_gelu_dropout_norm(training):
    torch.manual_seed(0)
    x = torch.randn(40, 12, dtype=torch.float64, requires_grad=True)
    norms = disturbed(nn.LayerNorm(12))
    torch.manual_seed(1)
    ours = gelu_dropout_norm(x, norms[0], 0.3, training)
    torch.manual_seed(1)
    compare(ours, norms[1](dropout(gelu(x), 0.3, training)), x, norms)


def test_less_is_kept():
    """One tensor of the size of the input, and a byte for each number that may be dropped."""
    sizes = []
    x, norm = torch.randn(64, 256, requires_grad=True), nn.LayerNorm(256)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
        gelu_dropout_norm(x, norm, 0.1, True)
    assert sum(sizes) < 1.35 * x.nbytes
