"""Where the time of a training step goes, kernel by kernel, and a trace for a browser (chrome://tracing, Perfetto)."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import rates
import torch
from measure import synchronise
from torch.profiler import profile as recorded
from torch.profiler import supported_activities
from work import Order, Piece

from jetloom.models import build

SHOWN = 50
"""Kernels and operators that the result lists."""


def profile(order: Order) -> Iterator[Piece]:
    """One step of ParT in bf16 at batch 512, and one of SAL-T in single precision."""
    yield "part", partial(_step, order, "part", torch.bfloat16, "jetclass")
    yield "salt", partial(_step, order, "salt", torch.float32, "hls4ml")


def _step(order: Order, name: str, precision: torch.dtype, preset: str) -> dict[str, Any]:
    size = 16 if order.tiny else 512
    batch = rates.jets_of(order.manifest(), size, 1, static=True)[0].to(order.card)
    described = rates.Manifest.read(order.manifest())
    sizes = {"n_features": described.width, "n_classes": len(described.classes)}
    make = partial(build, name, preset="tiny" if order.tiny else preset, **sizes)
    work = rates.ready(rates.Contender(make, [batch], precision), True, order.card)
    for _ in range(1 if order.tiny else 10):
        work()
    synchronise(order.card)
    with recorded(activities=supported_activities()) as trace:
        work()
        synchronise(order.card)
    order.output.mkdir(parents=True, exist_ok=True)
    trace.export_chrome_trace(str(order.output / f"profile-{name}.json.gz"))
    events = sorted(trace.key_averages(), key=lambda event: -_on_card(event))[:SHOWN]
    listed = [
        {
            "name": event.key[:120],
            "count": event.count,
            "card_us": _on_card(event),
            "host_us": event.self_cpu_time_total,
        }
        for event in events
    ]
    return {"card_us": sum(map(_on_card, trace.key_averages())), "slots": batch.mask.shape[1], "operators": listed}


def _on_card(event: Any) -> float:
    return float(event.self_device_time_total)
