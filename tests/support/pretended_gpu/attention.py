"""Attention as an H100 would do it: which tensors its fused kernels take."""

from typing import Any

import torch
from torch import Tensor

from tests.support.pretended_gpu.record import note

MOST_BATCHES = 65_535
"""Of a grid of CUDA along its third axis."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """``scaled_dot_product_attention`` step by step, in the precision of autocast.

    Raises:
        RuntimeError: a fused kernel would be started with more than :data:`MOST_BATCHES` batches.
    """
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        query, key, value = (x.to(dtype) for x in (query, key, value))
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(dtype)
    with torch.autocast("cuda", enabled=False):
        given = [query, key, value] if attn_mask is None else [query, key, value, attn_mask]
        if not _fused_takes(query, value, given):
            note("unfused attention", f"{[tuple(x.stride()) for x in given]}")
        elif len(query) > MOST_BATCHES:
            raise RuntimeError(f"invalid configuration argument: {len(query)} batches, more than {MOST_BATCHES}")
        if attn_mask is not None and attn_mask.dtype not in (query.dtype, torch.bool):
            raise RuntimeError("expected attn_mask of bool or of the type of the query")
        attended: Tensor = torch.ops.aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, None, **options
        )[0]
    # As the kernels return it: (B, N, H, d) in memory.
    return attended.transpose(1, 2).contiguous().transpose(1, 2)


def _fused_takes(query: Tensor, value: Tensor, given: list[Tensor]) -> bool:
    """Rules of torch's ``sdp_utils`` for the memory-efficient kernel, the least demanding one."""
    aligned = 8 if query.dtype in (torch.float16, torch.bfloat16) else 4
    fits = query.shape[-1] % aligned == 0 and value.shape[-1] % aligned == 0
    return fits and all(x.numel() and x.stride(-1) == 1 for x in given)
