"""NCCL with one process: that it starts, sums, and trains as a network alone does."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from work import Order, Piece

from jetloom.data.read.loader import Loader
from jetloom.models import build

BACKEND = "nccl"


def processes(order: Order) -> Iterator[Piece]:
    """One piece."""
    yield "one process", partial(_one, order)


def _one(order: Order) -> dict[str, Any]:
    loader = Loader(order.manifest(), "val", batch_size=16, shuffle=True, seed=1)
    batch = next(iter(loader)).to(order.card)
    torch.manual_seed(1)
    alone = build("part", n_features=loader.manifest.width, n_classes=len(loader.manifest.classes), preset="tiny")
    alone.to(order.card)
    together = copy.deepcopy(alone)
    order.scratch.mkdir(parents=True, exist_ok=True)
    meeting = order.scratch.resolve() / "meeting"
    meeting.unlink(missing_ok=True)
    distributed.init_process_group(BACKEND, init_method=f"file://{meeting}", rank=0, world_size=1)
    try:
        hand = torch.ones(3, device=order.card)
        distributed.all_reduce(hand)
        cross_entropy(alone(batch), batch.labels).backward()
        cross_entropy(DistributedDataParallel(together)(batch), batch.labels).backward()
    finally:
        distributed.destroy_process_group()
    off = max(
        float((p.grad - q.grad).abs().max() / q.grad.abs().max().clamp(min=1e-6))
        for p, q in zip(together.parameters(), alone.parameters(), strict=True)
        if p.grad is not None and q.grad is not None
    )
    right = hand.tolist() == [1.0, 1.0, 1.0] and off < 1e-3
    return {"right": right, "largest relative difference of gradients": off}
