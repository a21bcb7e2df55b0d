"""What an architecture costs on this machine: parameters, FLOPs, latency, throughput, peak memory."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jetloom.batch import Batch
from jetloom.catalogue.cards import model_card
from jetloom.config import Cost
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.evaluation.memory import METHODS, peak_megabytes
from jetloom.models.registry import build
from jetloom.system.environment import hardware, versions
from jetloom.system.files import appearing

SCHEMA_VERSION = 1
REFERENCE_PARTICLES = 50
"""Particles at which FLOPs are quoted, as in arXiv:2505.20280: about the mean number of a JetClass jet."""
SCAN_BATCH = 8
COUNTER = "torch.utils.flop_counter.FlopCounterMode, one jet, forward pass, attention unfused; 1 MAC = 2 FLOPs"


class Description(NamedTuple):
    """What can be said of an architecture without data."""

    parameters: int
    macs: int
    ordered: bool


class Pool(NamedTuple):
    """Real particles of the data set, from which inputs of any length are drawn."""

    features: Tensor
    vectors: Tensor | None
    coordinates: Tensor

    def batch(self, jets: int, particles: int, device: torch.device | str = "cpu") -> Batch:
        """``jets`` full jets of ``particles`` particles each, the same ones at every call."""
        generator = torch.Generator().manual_seed(jets * 100_003 + particles)
        chosen = torch.randint(len(self.features), (jets, particles), generator=generator)
        return Batch(
            self.features[chosen].to(device),
            self.vectors[chosen].to(device) if self.vectors is not None else None,
            self.coordinates[chosen].to(device),
            torch.ones(jets, particles, dtype=torch.bool, device=device),
        )


def describe(name: str) -> Description:
    """Size of an architecture as published: 17 inputs and 10 classes (3 inputs if it only reads points), 50 particles.

    Raises:
        JetloomError: there is no such model.
    """
    jets = "jets" in model_card(name).inputs
    n_features = 17 if jets else 3
    model = build(name, n_features=n_features, n_classes=10, max_particles=128).eval()
    pool = made_up_pool(n_features, jets)
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
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    described = Manifest.read(manifest)
    longest = described.max_particles
    pool = read_pool(manifest, described)

    sizes = {"n_features": len(described.features), "n_classes": len(described.classes)}

    def of_length(particles: int) -> nn.Module:
        torch.manual_seed(0)
        # A length stated in the preset or the options would win over the one of the scan.
        values = (model_card(model).presets[preset].options if preset else {}) | options
        values = {key: value for key, value in values.items() if key != "max_particles"}
        return build(model, **sizes, max_particles=particles, preset=None, **values).eval().to(device)

    torch.manual_seed(0)
    network = build(model, **sizes, max_particles=longest, preset=preset, **options).eval()
    flops = {
        particles: count_flops(network, pool.batch(1, particles))
        for particles in sorted({min(REFERENCE_PARTICLES, longest), longest})
    }
    reference = min(REFERENCE_PARTICLES, longest)
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
        scan.append({"particles": particles, "batch_size": SCAN_BATCH, "milliseconds": point["milliseconds"]})
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
        "macs": flops[reference] // 2,
        "flops": flops[reference],
        "flop_counter": COUNTER,
        "flops_particles": reference,
        "flops_at": [{"particles": particles, "flops": value} for particles, value in flops.items()],
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


@torch.enable_grad()
def count_flops(model: nn.Module, batch: Batch) -> int:
    """FLOPs of one forward pass by torch's counter (matrix products and convolutions; 2 for each multiply-add).

    Fused attention has another name on each device and is not counted on the CPU, so attention is run as plain
    matrix products, which the counter sees everywhere.
    """
    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            model(batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops()


@torch.inference_mode()
def measure(model: nn.Module, batch: Batch, seconds: float) -> dict[str, Any]:
    """Time of forward passes: median and central 68 %, in milliseconds per batch; throughput in jets per second."""
    times = _time(lambda: model(batch), batch.mask.device, seconds)
    low, median, high = np.quantile(times, [0.16, 0.5, 0.84]).tolist()
    milliseconds = {"median": _short(1e3 * median), "low": _short(1e3 * low), "high": _short(1e3 * high)}
    return {
        "milliseconds": milliseconds,
        "jets_per_second": _short(len(batch.mask) / median),
        "repetitions": len(times),
    }


def _time(work: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Durations of calls after a warm-up: as many as fit into ``seconds``, three if they fit into four times that.

    A slow network on a slow machine is thus timed once, and ``repetitions`` says so.
    """

    def once() -> float:
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    warm = once()
    if warm < seconds / 4:
        once()
    times: list[float] = []
    while sum(times) < seconds or (len(times) < 3 and sum(times) < 4 * seconds):
        times.append(once())
    return times


@torch.inference_mode()
def _peak(model: nn.Module, batch: Batch) -> float | None:
    peak = peak_megabytes(lambda: model(batch), batch.mask.device)
    return None if peak is None else _short(peak)


def read_pool(manifest: Path, described: Manifest) -> Pool:
    """Real particles of the first jets of the data set."""
    split = "test" if "test" in described.splits else next(iter(described.splits))
    batch = next(iter(Loader(manifest, split, batch_size=128, shuffle=False)))
    return Pool(
        batch.features[batch.mask],
        batch.vectors[batch.mask] if batch.vectors is not None else None,
        batch.coordinates[batch.mask],
    )


def made_up_pool(n_features: int, jets: bool, particles: int = 2000) -> Pool:
    """Particles as they could be: falling pT, spread around the jet axis; or points in a ball."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(particles, n_features, generator=generator)
    if not jets:
        return Pool(features, None, features[:, :3].clone() / 3)
    pt = torch.empty(particles).exponential_(0.1, generator=generator) + 0.5
    coordinates = 0.2 * torch.randn(particles, 2, generator=generator)
    eta, phi = coordinates.unbind(1)
    px, py, pz = pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()
    energy = (px**2 + py**2 + pz**2 + 0.14**2).sqrt()
    return Pool(features, torch.stack([px, py, pz, energy], dim=1), coordinates)


def _short(value: float) -> float:
    """Four digits: times and sizes of memory are not known better."""
    return float(f"{value:.4g}") if math.isfinite(value) else value
