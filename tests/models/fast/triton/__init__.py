"""Kernels in Triton's interpreter."""

from typing import Any

import torch

TYPES = {"32": torch.float32, "bf16": torch.bfloat16}
DROPPED = 0.3
"""Part of the numbers that fall in the tests of dropout."""

TAGGERS = [
    ("salt", "padding read", {"mask": "published"}),
    ("salt", "in no order", {"sort": "none"}),
    ("salt", "keys in partitions", {"partition": "keys"}),
    ("salt", "values in partitions", {"partition": "values", "mask": "published"}),
    ("salt", "no partitions", {"partition": False}),
    ("salt", "one projection", {"share": True, "p": 3, "heads": 2, "d_ff": 8}),
    ("salt", "no convolution", {"conv_heights": ()}),
    ("salt", "tall convolutions", {"conv_heights": (1, 3, 5, 7, 9)}),
    ("salt", "eight partitions", {"p": 8, "d_model": 20, "d_ff": 30}),
    ("salt", "one partition", {"p": 1, "heads": 1}),
    ("linformer", "padding read", {"mask": "published"}),
    ("linformer", "in no order", {"sort": "none", "p": 6, "d_model": 24}),
    ("linformer", "one projection", {"share": True}),
]
"""Options of SAL-T and Linformer that the kernel knows."""


def off(found: Any, expected: Any) -> float:
    """Largest difference of two tensors, relative to the largest number; where there is none, as it is."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    expected = expected.detach().double()
    return float((found.detach().double() - expected).abs().max() / (expected.abs().max() or 1.0))
