"""SAL-T and Linformer at n = 150: the kernel of the whole network beside the formula, jets/s beside plain torch."""

import copy
import math
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any
from unittest.mock import patch

import torch
from rates import BATCHES, Contender, contest
from salt_peer import Plain
from torch.nn.functional import pad
from work import Order, Piece

from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.models import build, fast
from jetloom.models.fast.triton import WANTED, projected_tagger

LONGEST = 150
LIMITS = {"32": 1e-4, "bf16": 0.05}
"""Largest differences of the kernel from the formula in double precision, relative to the largest logit."""


def small(order: Order) -> Iterator[Piece]:
    """In single precision, as the published recipes; batches of 512 and 4096."""
    names = ("salt",) if order.tiny else ("salt", "linformer")
    for name in names:
        for mask in ("real", "published"):
            for precision in LIMITS:
                yield f"{name}, mask: {mask}, the same, {precision}", partial(_same, order, name, mask, precision)
    for name in names:
        for size in (8,) if order.tiny else (512, 4096):
            for training in (True, False):
                yield (
                    f"{name}, {'training' if training else 'inference'}, batch {size}",
                    partial(_rates, order, name, size, training),
                )


def _sizes(order: Order) -> dict[str, Any]:
    described = Manifest.read(order.manifest())
    sizes = {"n_features": described.width, "n_classes": len(described.classes), "max_particles": LONGEST}
    return sizes | ({"d_model": 8, "d_ff": 8} if order.tiny else {})


def _batches(order: Order, size: int, number: int) -> list[Batch]:
    loader = Loader(order.manifest(), "train", batch_size=min(size, 256), shuffle=True, seed=1, drop_last=True)
    parts = [_widened(batch, LONGEST) for batch in islice(loader, number * math.ceil(size / 256))]
    together = [parts[at : at + len(parts) // number] for at in range(0, len(parts), len(parts) // number)]
    return [_joined(some).to(order.card) for some in together]


def _widened(batch: Batch, width: int) -> Batch:
    return batch.map_slots(lambda x: pad(x, (0, width - x.shape[1]) if x.dim() == 2 else (0, 0, 0, width - x.shape[1])))


def _joined(batches: list[Batch]) -> Batch:
    columns = zip(*(batch.tensors for batch in batches), strict=True)
    return Batch(*(None if column[0] is None else torch.cat(column) for column in columns))


def _same(order: Order, name: str, mask: str, precision: str) -> dict[str, Any]:
    """How far kernel and formula are from the formula in double precision."""
    torch.manual_seed(1)
    network = build(name, **_sizes(order), mask=mask).to(order.card).eval()
    batch = _batches(order, 8 if order.tiny else 512, 1)[0]
    found = {}
    with torch.no_grad():
        with fast.off():
            exact = copy.deepcopy(network).double()(batch._replace(features=batch.features.double()))
        for who, yes in (("formula", "0"), ("kernel", "1")):
            mixed = torch.autocast(order.card.type, torch.bfloat16, enabled=precision == "bf16")
            with patch.dict(os.environ, {WANTED: yes}), mixed:
                served = projected_tagger.serves(network, batch.features)
                off = network(batch).double() - exact
            found[who] = float(off.abs().max() / exact.abs().max())
    # In a rehearsal kernels do nothing.
    return {"right": found["kernel"] < LIMITS[precision] and (served or order.tiny), "served": served} | found


def _rates(order: Order, name: str, size: int, training: bool) -> dict[str, Any]:
    batches = _batches(order, size, 1 if order.tiny else BATCHES)
    make = partial(build, name, **_sizes(order))
    as_published = partial(make, mask="published", sort="none")
    contenders = {
        "plain torch": Contender(lambda: Plain(as_published()), batches),
        "jetloom, same network": Contender(as_published, batches),
        "jetloom": Contender(make, batches),
        "jetloom, inductor": Contender(make, batches, compiled={"dynamic": False}, alone=False),
        "jetloom, inductor, graphs": Contender(make, batches, compiled={"mode": "reduce-overhead"}, alone=False),
    }
    if not training:
        contenders |= {
            "jetloom, same network, one kernel": Contender(as_published, batches, kernels=True, alone=False),
            "jetloom, one kernel": Contender(make, batches, kernels=True, alone=False),
        }
    return contest(order, contenders, training, "plain torch")
