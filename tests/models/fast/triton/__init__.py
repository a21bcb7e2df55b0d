"""Kernels in Triton's interpreter."""

from typing import Any

import torch

TYPES = {"32": torch.float32, "bf16": torch.bfloat16}
DROPPED = 0.3
"""Part of the numbers that fall in the tests of dropout."""


def off(found: Any, expected: Any) -> float:
    """Largest difference of two tensors, relative to the largest number; where there is none, as it is."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    expected = expected.detach().double()
    return float((found.detach().double() - expected).abs().max() / (expected.abs().max() or 1.0))
