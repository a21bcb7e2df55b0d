"""What an architecture costs on this machine: parameters, FLOPs, latency, throughput, peak memory."""

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from jetloom.batch import Batch
from jetloom.catalogue.cards import model_card
from jetloom.config import Cost
from jetloom.data.prepare.manifest import Manifest
from jetloom.evaluation.memory import METHODS, peak_megabytes
from jetloom.evaluation.pool import made_up_pool, read_pool
from jetloom.models.registry import build
from jetloom.system.compiler import compile_later
from jetloom.system.device import gpu_or_cpu
from jetloom.system.environment import hardware, versions
from jetloom.system.files import appearing

# The counter of FLOPs would import it.
compile_later()

SCHEMA_VERSION = 2
REFERENCE_PARTICLES = 50
"""Particles at which FLOPs are quoted, as in arXiv:2505.20280: about the mean number of a JetClass jet."""
PUBLISHED_INPUTS = {"jets": 17, "points": 3, "tokens": 8192}
SCAN_BATCH = 8
COUNTER = "torch.utils.flop_counter.FlopCounterMode, one jet, forward pass, attention unfused; 1 MAC = 2 FLOPs"


STEADY = 0.05
"""Spread of the faster half of the repetitions, slowest over fastest less one, below which they are believed."""
ENOUGH = 10
"""Repetitions from which on that can be said."""
CLOCK = "median and range of the faster half of the repetitions; busy: this half spreads by more than 5 %"


class Description(NamedTuple):
    """What can be said of an architecture without data."""

    parameters: int
    macs: int
    ordered: bool


class Work(NamedTuple):
    """What a forward pass does in its matrix products and convolutions."""

    flops: int
    """2 for each multiply-add."""
    moved: int
    """Numbers read and written, each operand and each result once."""


def describe(name: str) -> Description:
    """Size of an architecture as published, at 10 classes and 50 particles: 17 inputs, 3 of points, or 8192 codes.

    Raises:
        JetloomError: there is no such model.
    """
    kind = model_card(name).inputs[0]
    n_features = PUBLISHED_INPUTS[kind]
    model = build(name, n_features=n_features, n_classes=10, max_particles=128).eval()
    pool = made_up_pool(n_features, kind)
    macs = count_flops(model, pool.batch(1, REFERENCE_PARTICLES)) // 2
    return Description(count_parameters(model), macs, type(model).ordered)


def cost(
    model: str,
    preset: str | None,
    options: dict[str, Any],
    manifest: Path,
    output: Path,
    *,
    settings: Cost,
    run: dict[str, Any],
    threads: int | None = None,
) -> None:
    """Measure an architecture with fresh weights and write ``cost.json``.

    Latency over the batch size is for jets of the data set's longest length; latency and memory over the number of
    particles are for batches of 8. An architecture of fixed length is built anew for each length.

    Args:
        model: name of the registry.
        preset: its named size.
        options: keyword arguments over the preset's.
        manifest: ``manifest.json`` of the data set it is meant for: inputs, classes, longest jet.
        output: file to write.
        settings: batch sizes, numbers of particles, seconds for each point.
        run: data set, model and title for the report.
        threads: CPU threads; None: as torch chooses.

    Raises:
        JetloomError: unknown model, preset or option.
    """
    threads = min(threads, os.cpu_count() or 1) if threads else torch.get_num_threads()
    torch.set_num_threads(threads)
    device = gpu_or_cpu()
    described = Manifest.read(manifest)
    longest = described.max_particles
    pool = read_pool(manifest, described)

    sizes = {"n_features": described.width, "n_classes": len(described.classes)}

    def of_length(particles: int) -> nn.Module:
        torch.manual_seed(0)
        # A length stated in the preset or the options would win over the one of the scan.
        values = (model_card(model).presets[preset].options if preset else {}) | options
        values = {key: value for key, value in values.items() if key != "max_particles"}
        return build(model, **sizes, max_particles=particles, preset=None, **values).eval().to(device)

    torch.manual_seed(0)
    network = build(model, **sizes, max_particles=longest, preset=preset, **options).eval()
    reference = min(REFERENCE_PARTICLES, longest)
    work = {
        particles: count_work(network, pool.batch(1, particles)) for particles in sorted({reference, longest})
    }  # fmt: skip
    parameters = count_parameters(network)

    network = network.to(device)
    latency = [
        {"batch_size": size, "particles": longest}
        | measure(network, pool.batch(size, longest, device), settings.seconds)
        for size in settings.batch_sizes
    ]
    scan = []
    # Times before memory: measuring memory slows the allocator down.
    for particles in settings.particles:
        point = measure(of_length(particles), pool.batch(SCAN_BATCH, particles, device), settings.seconds)
        kept = {name: point[name] for name in ("milliseconds", "spread", "steady")}
        scan.append({"particles": particles, "batch_size": SCAN_BATCH, **kept})
    for point in scan:
        batch = pool.batch(SCAN_BATCH, point["particles"], device)
        point["peak_memory_mb"] = _peak(of_length(point["particles"]), batch)

    content = {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "architecture": model,
        "preset": preset,
        "options": options,
        "parameters": parameters,
        "macs": work[reference].flops // 2,
        "flops": work[reference].flops,
        "moved": work[reference].moved,
        "flop_counter": COUNTER,
        "flops_particles": reference,
        "flops_at": [{"particles": particles, **value._asdict()} for particles, value in work.items()],
        "clock": CLOCK,
        "latency": latency,
        "length_scan": scan,
        "memory_method": METHODS[device.type],
        "device": device.type,
        "hardware": hardware(threads),
        "versions": versions(),
    }
    with appearing(output) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_flops(model: nn.Module, batch: Batch) -> int:
    """FLOPs of one forward pass, as :func:`count_work` counts them."""
    return count_work(model, batch).flops


@torch.enable_grad()
def count_work(model: nn.Module, batch: Batch) -> Work:
    """FLOPs of one forward pass by torch's counter (matrix products and convolutions), and the numbers these move.

    Fused attention has another name on each device and is not counted on the CPU, so attention is run as plain
    matrix products, which the counter sees everywhere.
    """
    counter, moved = FlopCounterMode(display=False), _Moved()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # The counter is asked first and takes composite operations apart.
        with sdpa_kernel(SDPBackend.MATH), moved, counter:
            model(batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return Work(counter.get_total_flops(), moved.numbers)


class _Moved(TorchDispatchMode):
    """Counts the numbers that go into and come out of the operations of which the FLOPs are counted."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            tensors = [item for item in tree_leaves((args, kwargs, result)) if isinstance(item, Tensor)]
            # What is only repeated is in memory once.
            self.numbers += sum(
                math.prod(size for size, step in zip(item.shape, item.stride(), strict=True) if step)
                for item in tensors
            )
        return result


@torch.inference_mode()
def measure(model: nn.Module, batch: Batch, seconds: float) -> dict[str, Any]:
    """Time of forward passes, and whether the machine let it be measured.

    Other programs can only slow a pass down, so the faster half of the repetitions counts: its median and its ends, in
    milliseconds per batch. Where even this half spreads by more than 5 % when the time is up, ``steady`` is False.

    Args:
        model: on the device of the batch.
        batch: what it reads.
        seconds: most time for it, warm-up aside; on a GPU one half is for latency, the other for throughput.

    Returns:
        ``milliseconds``, ``jets_per_second`` of one batch after another, ``spread``, ``steady``, ``repetitions``; on a
        GPU also ``pipelined_jets_per_second``, where a batch is launched before the one before it has ended.
    """
    device = batch.mask.device
    on_gpu = device.type == "cuda"

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize(device)

    def once() -> None:
        model(batch)
        wait()

    times = repeated(once, seconds / 2 if on_gpu else seconds)
    half = faster_half(times)
    median, spread = statistics.median(half), half[-1] / half[0] - 1
    point = {
        "milliseconds": {"median": _short(1e3 * median), "low": _short(1e3 * half[0]), "high": _short(1e3 * half[-1])},
        "jets_per_second": _short(len(batch.mask) / median),
        "spread": _short(spread),
        "steady": len(times) >= ENOUGH and spread < STEADY,
        "repetitions": len(times),
    }
    if on_gpu:
        rate = pipelined(lambda: model(batch), wait, seconds / 2, median)
        point["pipelined_jets_per_second"] = _short(len(batch.mask) * rate)
    return point


def repeated(work: Callable[[], object], seconds: float) -> list[float]:
    """Durations of calls after a warm-up, until they are steady, or for ``seconds``; three if they fit into four times.

    A slow network on a slow machine is thus timed once, and ``repetitions`` says so.
    """

    def once() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    warm = once()
    if warm < seconds / 4:
        once()
    times: list[float] = []
    while sum(times) < seconds or (len(times) < 3 and sum(times) < 4 * seconds):
        times.append(once())
        # Looked at after 10, 20, 40, ... calls: sorting must not cost what is measured.
        if len(times) >= ENOUGH and (len(times) // ENOUGH).bit_count() == 1 and len(times) % ENOUGH == 0:
            half = faster_half(times)
            if half[-1] < (1 + STEADY) * half[0]:
                break
    return times


def faster_half(times: Sequence[float]) -> list[float]:
    """The faster half, of an odd number the larger one, rising."""
    return sorted(times)[: (len(times) + 1) // 2]


def pipelined(launch: Callable[[], object], wait: Callable[[], None], seconds: float, single: float) -> float:
    """Calls per second where a call is launched while earlier ones still run: the best of three rounds.

    Args:
        launch: starts a piece of work.
        wait: until all of it has ended.
        seconds: most time, about.
        single: seconds that a call takes alone.
    """
    rounds = 3
    calls = max(2, min(1000, int(seconds / rounds / max(single, 1e-9))))
    best = 0.0
    for _ in range(rounds):
        wait()
        begin = time.perf_counter()
        for _ in range(calls):
            launch()
        wait()
        best = max(best, calls / (time.perf_counter() - begin))
    return best


@torch.inference_mode()
def _peak(model: nn.Module, batch: Batch) -> float | None:
    peak = peak_megabytes(lambda: model(batch), batch.mask.device)
    return None if peak is None else _short(peak)


def _short(value: float) -> float:
    """Four digits: times and sizes of memory are not known better."""
    return float(f"{value:.4g}") if math.isfinite(value) else value
