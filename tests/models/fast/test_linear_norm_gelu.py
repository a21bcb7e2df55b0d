"""The step that works in chunks, against the plain steps: values, gradients, statistics."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from jetloom.models.fast import linear_norm_gelu as module
from jetloom.models.layers.norm import RealBatchNorm, linear_norm_gelu


def layer(dtype: torch.dtype, before: int = 6, after: int = 9) -> nn.Sequential:
    made = nn.Sequential(nn.Linear(before, after), RealBatchNorm(after)).to(dtype)
    with torch.no_grad():
        for parameter in made[1].parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize(
    ("widths", "dtype"),
    [((6, 9), torch.float32), *((widths, torch.float64) for widths in [(6, 9), (6, 20), (18, 7), (17, 20)])],
)
@pytest.mark.parametrize("rows", [2, 33, 100])
def test_that_of_the_plain_steps(rows, widths, dtype, monkeypatch):
    monkeypatch.setattr(module, "NUMBERS", 33 * max(widths))
    torch.manual_seed(rows)
    ours = layer(dtype, *widths)
    theirs = copy.deepcopy(ours)
    # Far from zero, where a variance from sums of squares would lose its digits.
    x = (20 + torch.randn(rows, widths[0], dtype=dtype)).requires_grad_()
    found = linear_norm_gelu(x, ours[0].weight, ours[0].bias, ours[1], None)
    expected = gelu(theirs[1](theirs[0](x)))
    tolerance = {} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(found, expected, **tolerance)
    weight = torch.randn_like(found)
    for made, result in ((ours, found), (theirs, expected)):
        made.zero_grad()
        made.to_x = torch.autograd.grad((result * weight).sum(), x, retain_graph=True)[0]
        (result * weight).sum().backward()
    torch.testing.assert_close(ours.to_x, theirs.to_x, **tolerance)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if name == "0.bias":
            # What the plain steps find there is rounding.
            assert not mine.grad.any()
            torch.testing.assert_close(other.grad, mine.grad, rtol=0, atol=1e-9 if dtype == torch.float64 else 0.1)
        else:
            torch.testing.assert_close(mine.grad, other.grad, **tolerance)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=1e-5)


def test_only_the_input_is_kept():
    sizes = []
    x, made = torch.randn(5000, 6, requires_grad=True), layer(torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
        linear_norm_gelu(x, made[0].weight, made[0].bias, made[1], None)
    assert sum(sizes) < 1.02 * x.nbytes
