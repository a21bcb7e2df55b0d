"""Jets per second of steps on batches that lie on the card already: jetloom's ways to run, and the peers at their best.

Beside each rate stand the shares of what the card does at best: operations of a step, as torch counts them, over the
rate of a large matrix product; and, where every operator runs by itself, bytes that the operators read and write over
the rate of a large copy.
"""

import os
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from measure import ROUNDS, Rates, Timing, interleaved, machine_rates, synchronise
from salt_peer import Plain
from taggers import WEAVER, Weaver, jets_of, mixed, transposed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from work import Order, Piece

from jetloom.batch import Batch
from jetloom.config import Training
from jetloom.data.prepare.manifest import Manifest
from jetloom.models import build
from jetloom.models.fast.triton import WANTED
from jetloom.training.optimisers import build_optimiser, set_rate

BATCHES = 8
BF16 = torch.bfloat16
TINY_WEAVER = {
    "embed_dims": [8, 8], "pair_embed_dims": [8], "num_heads": 2, "num_layers": 1, "num_cls_layers": 1,
}  # fmt: skip


class Contender(NamedTuple):
    """One way to run the same jets."""

    model: Callable[[], nn.Module]
    batches: list[Batch]
    precision: torch.dtype = torch.float32
    compiled: dict[str, Any] | None = None
    """How torch.compile is called on the module; None: not at all."""
    weaver: bool = False
    kernels: bool = False
    """Whether those in Triton serve."""
    alone: bool = True
    """Whether each operator runs by itself, so that what it moves can be counted."""


class Counted(TorchDispatchMode):
    """Counts operations of products, convolutions and attention, as torch does, and bytes read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.flops += int(count(*args, **(kwargs or {}), out_val=result))
        # Views move nothing.
        if not function.is_view:
            tensors = pytree.tree_leaves((args, kwargs, result))
            self.bytes += sum(x.numel() * x.element_size() for x in tensors if isinstance(x, Tensor))
        return result


def part_training(order: Order) -> Iterator[Piece]:
    """Batch 512, bf16; ranger of each code."""
    yield "part", partial(_part, order, True)


def part_inference(order: Order) -> Iterator[Piece]:
    """Batch 512, bf16."""
    yield "part", partial(_part, order, False)


def _part(order: Order, training: bool) -> dict[str, Any]:
    described = Manifest.read(order.manifest())
    sizes = {"n_features": described.width, "n_classes": len(described.classes)}
    size, number = (8, 1) if order.tiny else (512, BATCHES)
    bucketed = jets_of(order.manifest(), size, number, static=True)
    same = [transposed(batch) for batch in mixed(bucketed, described.max_particles)]
    ours = [batch.to(order.card) for batch in bucketed]
    theirs = [batch.to(order.card) for batch in same]
    make = partial(build, "part", preset="tiny" if order.tiny else "jetclass", **sizes)
    if order.tiny:
        WEAVER["part"].update(TINY_WEAVER)
    contenders = {
        "jetloom": Contender(make, ours, BF16),
        "jetloom, 32": Contender(make, ours),
        "jetloom, kernels": Contender(make, ours, BF16, kernels=True, alone=False),
        "jetloom, inductor": Contender(make, ours, BF16, {"dynamic": False}, alone=False),
        "weaver-core": Contender(partial(Weaver, "part", *sizes.values(), False), theirs, BF16, weaver=True),
        "weaver-core, compiled": Contender(
            partial(Weaver, "part", *sizes.values(), True), theirs, BF16, weaver=True, alone=False
        ),
    }
    return contest(order, contenders, training, "weaver-core")


def contest(order: Order, contenders: dict[str, Contender], training: bool, peer: str) -> dict[str, Any]:
    """Rates of all that can be run; what a contender fails with is written down and holds up no other one."""
    found: dict[str, Any] = {}
    works: dict[str, Callable[[], object]] = {}
    for name, contender in contenders.items():
        if order.late():
            found[name] = {"error": "no time left"}
            continue
        try:
            work = ready(contender, training, order.card)
            # Compiles, plans and fills caches.
            work()
            synchronise(order.card)
            flops, moved = _counted(contender, work)
            found[name] = {"flops": flops, "bytes": moved}
            works[name] = work
        except Exception as error:
            found[name] = {"error": "".join(traceback.format_exception_only(error)).strip()[:2000]}
    rounds = {"rounds": 1, "warm_up": 0} if order.tiny else {"rounds": ROUNDS}
    timings = interleaved(works, **rounds, device=order.card)
    for name, timing in timings.items():
        found[name] |= _rate(order, contenders, name, timing, found)
    fastest = max((found[name]["jets_per_second"] for name in works if name.startswith(peer)), default=None)
    for name in works:
        found[name]["over_peer"] = fastest and found[name]["jets_per_second"] / fastest
    summary = {name: found[name].get("jets_per_second", "failed") for name in contenders}
    lengths = torch.cat([batch.mask.sum(-1).flatten() for batch in next(iter(contenders.values())).batches])
    return summary | {
        "contenders": found,
        "mean_length": float(lengths.float().mean()),
        "right": len(works) == len(contenders),
    }


@cache
def best(card: torch.device, precision: torch.dtype) -> Rates:
    """Of the card, measured once in this process."""
    return machine_rates(card, precision)


def _rate(
    order: Order, contenders: dict[str, Contender], name: str, timing: Timing, found: dict[str, Any]
) -> dict[str, Any]:
    contender = contenders[name]
    rates = Rates(1.0, 1.0) if order.tiny else best(order.card, contender.precision)
    jets = sum(len(batch.labels) for batch in contender.batches)
    # Compilers hide their operations: those of the same network in single steps.
    flops = found[name]["flops"] or next((found[other]["flops"] for other in _twins(contenders, name, found)), None)
    moved = found[name]["bytes"]
    return {
        "jets_per_second": jets / timing.median,
        "lowest": jets / timing.high,
        "highest": jets / timing.low,
        "share_of_matrix_rate": flops and flops / timing.median / rates.flops,
        "share_of_copy_rate": moved and moved / timing.median / rates.bytes,
        "matrix_flops_per_second": rates.flops,
        "copy_bytes_per_second": rates.bytes,
    }


def _twins(contenders: dict[str, Contender], name: str, found: dict[str, Any]) -> list[str]:
    return [other for other in contenders if found[other].get("flops") and name.startswith(other)]


def _counted(contender: Contender, work: Callable[[], object]) -> tuple[int | None, int | None]:
    """Operations and bytes of one pass over the batches; None where operators do not show."""
    if not contender.alone:
        return None, None
    with Counted() as counted:
        work()
    return counted.flops, counted.bytes


def ready(contender: Contender, training: bool, card: torch.device) -> Callable[[], object]:
    """A pass over the batches."""
    torch.manual_seed(0)
    model = contender.model().to(card).train(training)
    batches = contender.batches
    if contender.compiled is not None:
        model.compile(**contender.compiled)
        # One graph for each shape, whatever the lengths.
        batches = [batch._replace(length=None) for batch in batches]
    optimiser = _optimiser(model, contender.weaver) if training else None

    def step(batch: Batch) -> None:
        with torch.autocast(card.type, contender.precision, enabled=contender.precision != torch.float32):
            logits = model(batch.features if isinstance(model, Plain) else batch)
        if optimiser is not None:
            cross_entropy(logits.float(), batch.labels).backward()
            optimiser.step()
            optimiser.zero_grad()

    def work() -> None:
        with torch.set_grad_enabled(training), patch.dict(os.environ, {WANTED: str(int(contender.kernels))}):
            for batch in batches:
                step(batch)

    return work


def _optimiser(model: nn.Module, weaver: bool) -> Any:
    if weaver:
        from weaver.utils.nn.optimizer.ranger import Ranger

        return Ranger(model.parameters(), lr=1e-3)
    if isinstance(model, Plain):
        return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    large = hasattr(model, "pair_embed")
    recipe = Training(optimizer="ranger" if large else "adam", learning_rate=1e-3)
    optimiser = build_optimiser(model, recipe)  # type: ignore[arg-type]
    set_rate(optimiser, 1.0)
    return optimiser
