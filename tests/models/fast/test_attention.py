"""The attention for training on a CPU against torch's own, forward and gradient."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from jetloom.models.fast.dropout import kept
from jetloom.models.layers.attention import attend, key_bias

HEADS = 2


def inputs(dtype=torch.float64, keys=5, width=8):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, n, width, generator=generator, dtype=dtype) for n in (4, keys, keys))
    bias = torch.randn(3, HEADS, 4, keys, generator=generator, dtype=dtype)
    mask = torch.arange(keys) < torch.tensor([keys, 3, 1])[:, None]
    return [x.requires_grad_() for x in (query, key, value, bias)], mask


def split(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(-2)


def with_gradients(result, leaves):
    weight = torch.randn(result.shape, generator=torch.Generator().manual_seed(1), dtype=result.dtype)
    return [result, *torch.autograd.grad((result * weight).sum(), leaves)]


# Products and softmax of fewer than 16 columns are turned over.
@pytest.mark.parametrize(("keys", "width"), [(5, 8), (5, 40), (20, 8), (20, 40)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_without_dropout(with_bias, keys, width):
    (query, key, value, bias), mask = inputs(keys=keys, width=width)
    leaves = [query, key, value] + [bias] * with_bias
    added = bias + key_bias(mask) if with_bias else None
    ours = attend(query, key, value, HEADS, added)
    theirs = joined(scaled_dot_product_attention(*map(split, (query, key, value)), added))
    for a, b in zip(with_gradients(ours, leaves), with_gradients(theirs, leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_with_dropout():
    """Given the mask of the draw, the plain formula gives the same."""
    (query, key, value, bias), mask = inputs()
    added = bias + key_bias(mask)
    torch.manual_seed(3)
    ours = attend(query, key, value, HEADS, added, 0.4)
    torch.manual_seed(3)
    keep, factor = kept(torch.Size((3 * HEADS, 4, 5)), 0.4)
    keep = keep.view(HEADS, 3, 4, 5).transpose(0, 1)
    weights = (split(query) @ split(key).transpose(2, 3) / 2 + added).softmax(-1)
    plain = joined((weights * keep * factor) @ split(value))
    leaves = [query, key, value, bias]
    for a, b in zip(with_gradients(ours, leaves), with_gradients(plain, leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_bias_for_all_queries_and_heads():
    """A bias of the keys alone is spread out, and its gradient summed again."""
    (query, key, value, _), mask = inputs()
    bias = key_bias(mask).double().requires_grad_()
    ours = attend(query, key, value, HEADS, bias)
    theirs = joined(scaled_dot_product_attention(*map(split, (query, key, value)), bias.expand(3, HEADS, 4, 5)))
    for a, b in zip(with_gradients(ours, [bias, key]), with_gradients(theirs, [bias, key]), strict=True):
        torch.testing.assert_close(a, b)


def test_bfloat16_learns():
    (query, key, value, bias), _ = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        low = attend(*(x.bfloat16() for x in (query, key, value)), HEADS, bias, 0.1)
    low.float().sum().backward()
    assert low.dtype == torch.bfloat16
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (query, key, value, bias))
