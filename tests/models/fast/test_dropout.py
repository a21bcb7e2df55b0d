"""Dropout: the numbers of the draws, and gradients."""

import pytest
import torch

from jetloom.models.fast.dropout import kept
from jetloom.models.layers.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.5])
def test_masks_are_fair_and_independent(probability):
    """Each of the four lanes of a draw keeps the right share, and no lane knows of another."""
    torch.manual_seed(1)
    number = 400_000
    mask, factor = kept(torch.Size((number, 4)), probability)
    share = mask.double().mean(0)
    spread = (probability * (1 - probability) / number) ** 0.5
    assert (share - (1 - probability)).abs().max() < 5 * spread
    assert factor == pytest.approx(1 / (1 - probability), rel=2e-5)
    correlation = torch.corrcoef(mask.double().t()) - torch.eye(4)
    assert correlation.abs().max() < 5 / number**0.5


def test_gradient_and_seed():
    x = torch.randn(3, 7, 5, requires_grad=True)
    torch.manual_seed(2)
    y = dropout(x, 0.3, training=True)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    factor = torch.where(y == 0, 0.0, y / x).detach()
    assert 0.05 < (factor == 0).float().mean() < 0.6
    torch.testing.assert_close(factor[factor != 0], torch.full_like(factor[factor != 0], 1 / 0.7), rtol=1e-4, atol=0)
    torch.testing.assert_close(x.grad, weight * factor)
    torch.manual_seed(2)
    assert torch.equal(dropout(x, 0.3, training=True), y)
    assert not torch.equal(dropout(x, 0.3, training=True), y)


def test_ends():
    x = torch.randn(50, 3)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    assert not dropout(x, 1.0, training=True).any()
    assert dropout(x.bfloat16(), 0.5, training=True).dtype == torch.bfloat16
