"""Sorting in graphs, which know other operators or other speeds."""

import torch
from torch import Tensor
from torch.nn import functional

from jetloom.models.fast import exporting, values_known


def serves() -> bool:
    """In a recorded graph: ONNX has no stable sort by name, its only one is stable."""
    return not values_known()


def largest_first(key: Tensor) -> Tensor:
    """Slots (B, N) in the order of falling keys; equal keys stay in the order of the slots."""
    return key.sort(dim=1, descending=True).indices


def serves_rows() -> bool:
    """In a graph for ONNX: onnxruntime's gather by elements takes longer, and so does spreading out its index."""
    return exporting()


def take(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x (B, N, D) in the order (B, M), rows as a whole."""
    start = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    return functional.embedding(order + start, x.flatten(0, 1))
