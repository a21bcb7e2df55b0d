"""SAL-T, Linformer and the small Transformer against plain torch: inference, latency, training, cost against n.

    python benchmarks/salt.py infer       # n = 150, batch 4096, on the jets of the demo
    python benchmarks/salt.py train       # n = 150, batch 512
    python benchmarks/salt.py latency     # one jet of 150 particles through the exported file
    python benchmarks/salt.py length      # n = 64 to 2048, with fits and crossing points

The peers are in salt_peer.py. `infer --device cuda` and `train --device cuda` measure a GPU.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jets import MANIFEST
from measure import (
    RESULTS,
    ROUNDS,
    count_flops,
    interleaved,
    machine,
    machine_rates,
    print_table,
    ratio,
    session,
    write,
)
from salt_peer import Encoder, Plain
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.evaluation.memory import METHODS, peak_megabytes
from jetloom.evaluation.onnx import export_onnx
from jetloom.evaluation.pool import Pool, read_pool
from jetloom.models import build

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
DEMO = MANIFEST
LENGTHS = (64, 128, 256, 512, 1024, 2048)
SLOPE_FROM = 256
"""Shorter jets measure the overhead of the calls."""
NETWORKS = ("salt", "linformer")
AS_PUBLISHED = {"mask": "published", "sort": "none"}


def real_jets(arguments: argparse.Namespace) -> Batch:
    """Jets of the demo, all lengths mixed, padded to n."""
    loader = Loader(arguments.data, "train", batch_size=256, shuffle=True, seed=1)
    parts = list(islice(loader, math.ceil(arguments.batch / 256)))
    n = arguments.particles

    def wide(x: Tensor) -> Tensor:
        return pad(x, (0, n - x.shape[1]) if x.dim() == 2 else (0, 0, 0, n - x.shape[1]))

    # Features to label.
    columns = zip(*(part[:5] for part in parts), strict=True)
    batch = Batch(*(torch.cat([x if x.dim() == 1 else wide(x) for x in column]) for column in columns))
    order = torch.randperm(len(batch.label), generator=torch.Generator().manual_seed(1))[: arguments.batch]
    return batch.map(lambda x: x[order]).to(torch.device(arguments.device))


def contest(arguments: argparse.Namespace) -> dict[str, Any]:
    """Jets per second of each network and its peer, on the same jets."""
    described = Manifest.read(arguments.data)
    sizes = {"n_features": len(described.features), "n_classes": len(described.classes)}
    batch, device = real_jets(arguments), torch.device(arguments.device)
    clock = CLOCKS[arguments.clock]
    rates = machine_rates(device, clock=clock)
    training = arguments.what == "train"
    result: dict[str, Any] = {"mean_length": float(batch.mask.sum(1).float().mean()), "networks": {}}
    rows = []
    for name in (*NETWORKS, "transformer_small"):
        torch.manual_seed(0)
        options = {} if name == "transformer_small" else AS_PUBLISHED
        same = build(name, **sizes, max_particles=arguments.particles, **options).to(device)
        free = build(name, **sizes, max_particles=arguments.particles).to(device)
        free.load_state_dict(same.state_dict())
        works: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {}
        if name == "transformer_small":
            peer = Encoder(*sizes.values()).to(device)
            works["torch.nn.TransformerEncoder"] = (peer, lambda peer=peer: peer(batch.features, batch.mask))
            difference = None
        else:
            peer = Plain(same).to(device)
            works["plain torch"] = (peer, lambda peer=peer: peer(batch.features))
            works["jetloom, same network"] = (same, lambda same=same: same(batch))
            with torch.no_grad():
                difference = (same(batch) - peer(batch.features)).abs().max().item()
        works["jetloom"] = (free, lambda free=free: free(batch))
        first = next(iter(works))
        flops = count_flops(lambda peer=works[first][1]: peer())

        def step(model: nn.Module, work: Callable[[], Tensor]) -> None:
            model.train(training)
            with torch.set_grad_enabled(training):
                logits = work()
                if training:
                    cross_entropy(logits, batch.label).backward()
                    model.zero_grad()

        timings = interleaved(
            {key: (lambda value=value: step(*value)) for key, value in works.items()},
            rounds=arguments.rounds, device=device, clock=clock,
        )  # fmt: skip
        moved = sum(x.numel() * x.element_size() for x in batch.tensors if x is not None)
        least = rates.seconds(flops * (3 if training else 1), moved)
        found = {}
        for key, timing in timings.items():
            gain = ratio(timings[first], timing)
            speeds = {"jets_per_second": arguments.batch / timing.median, "seconds": timing.rounds}
            found[key] = speeds | {"over_peer": gain, "share_of_floor": least / timing.median}
            rows.append({
                f"{arguments.what}, n = {arguments.particles}, batch {arguments.batch}": f"{name}: {key}",
                "jets/s": speeds["jets_per_second"], "lowest": arguments.batch / timing.high,
                "highest": arguments.batch / timing.low, "x peer": gain["median"],
                "share of floor": least / timing.median,
            })  # fmt: skip
        result["networks"][name] = {
            "contenders": found, "largest_difference": difference, "flops_of_peer": flops,
            "floor_jets_per_second": arguments.batch / least,
        }  # fmt: skip
    print_table(rows)
    return result


def latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Microseconds for one jet through onnxruntime, and through the model itself."""
    described = Manifest.read(arguments.data)
    n, pool = arguments.particles, read_pool(arguments.data, described)
    batch = pool.batch(1, n)
    features = len(described.features)
    works: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in (*NETWORKS, "transformer_small"):
            torch.manual_seed(0)
            model = build(name, n_features=features, n_classes=len(described.classes), max_particles=n).eval()
            file = Path(temporary) / f"{name}.onnx"
            export_onnx(model, file, n_features=features, kind="jets", longest=n)
            exported = session(file, threads=1)
            feed = {item.name: getattr(batch, item.name).numpy() for item in exported.get_inputs()}
            works[f"{name}, exported"] = lambda exported=exported, feed=feed: exported.run(None, feed)
            works[f"{name}, torch"] = lambda model=model: model(batch)
    clock = CLOCKS[arguments.clock]
    found, rows = {}, []
    with torch.inference_mode():
        rounds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(arguments.rounds + 1):
            for name, work in works.items():
                times = []
                for _ in range(500):
                    start = clock()
                    work()
                    times.append(clock() - start)
                rounds[name].append(1e6 * float(np.median(times)))
    for name, values in rounds.items():
        median = float(np.median(values[1:]))
        found[name] = {"microseconds": median, "rounds": values[1:]}
        rows.append({f"one jet, n = {n}": name, "us": median, "lowest": min(values[1:]), "highest": max(values[1:])})
    print_table(rows)
    return {"contenders": found}


def length(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time of a forward pass and memory of a training pass against n; exponents; where full attention falls behind."""
    described = Manifest.read(arguments.data)
    sizes = {"n_features": len(described.features), "n_classes": len(described.classes)}
    pool: Pool = read_pool(arguments.data, described)
    device = torch.device(arguments.device)
    names = (*NETWORKS, "transformer_small")
    models = {(name, n): build(name, **sizes, max_particles=n).eval().to(device) for name in names for n in LENGTHS}
    batches = {n: pool.batch(arguments.batch, n, device) for n in LENGTHS}
    with torch.inference_mode():
        timings = {
            n: interleaved(
                {name: (lambda name=name, n=n: models[name, n](batches[n])) for name in names},
                rounds=arguments.rounds, device=device, clock=CLOCKS[arguments.clock],
            )
            for n in LENGTHS
        }  # fmt: skip
    found: dict[str, Any] = {}
    for name in names:
        seconds = [timings[n][name].median for n in LENGTHS]
        peaks = [
            peak_megabytes(lambda name=name, n=n: models[name, n](batches[n]).sum().backward(), device) for n in LENGTHS
        ]
        found[name] = {
            "seconds": seconds, "rounds": [timings[n][name].rounds for n in LENGTHS], "training_peak_mb": peaks,
            "exponent_time": exponent(seconds), "exponent_memory": exponent(peaks),
        }  # fmt: skip
    for name in NETWORKS:
        found[name]["crossing"] = crossing(found[name]["seconds"], found["transformer_small"]["seconds"])
    rows = [
        {f"ms for {arguments.batch} jets, MB to train": f"n = {n}"}
        | {name: 1e3 * found[name]["seconds"][i] for name in names}
        | {f"{name} MB": found[name]["training_peak_mb"][i] for name in names}
        for i, n in enumerate(LENGTHS)
    ]
    print_table(rows)
    for name in names:
        value = found[name]
        print(f"{name}: time ~ n^{value['exponent_time']:.2f}, memory ~ n^{value['exponent_memory']:.2f}", end="")
        print(f", cheaper than full attention from n = {value['crossing']:.0f}" if value.get("crossing") else "")
    return {"lengths": LENGTHS, "contenders": found, "memory_method": METHODS[device.type], "fit_from": SLOPE_FROM}


def exponent(values: list[float]) -> float:
    """Slope of a straight line through the logarithms."""
    points = [(math.log(n), math.log(value)) for n, value in zip(LENGTHS, values, strict=True) if n >= SLOPE_FROM]
    return float(np.polyfit(*np.array(points).T, 1)[0])


def crossing(linear: list[float], full: list[float]) -> float | None:
    """n at which both take the same time, between the measured ones; the lowest if full attention never is faster."""
    gaps = [math.log(a / b) for a, b in zip(linear, full, strict=True)]
    if gaps[0] <= 0:
        return float(LENGTHS[0])
    for i in range(1, len(gaps)):
        if gaps[i] <= 0:
            share = gaps[i - 1] / (gaps[i - 1] - gaps[i])
            return LENGTHS[i - 1] * (LENGTHS[i] / LENGTHS[i - 1]) ** share
    return None


WORK = {"infer": (contest, 4096), "train": (contest, 512), "latency": (latency, 1), "length": (length, 16)}


def main() -> None:
    """Run what was asked for, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(WORK))
    parser.add_argument("--data", type=Path, default=DEMO, help="manifest.json of the demo's jets")
    parser.add_argument("--batch", type=int, help="default: 4096, 512, 1, 16")
    parser.add_argument("--particles", type=int, default=150, help="n")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for busy machines, one thread")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work, batch = WORK[arguments.what]
    arguments.batch = arguments.batch or batch
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()}
    settings = {key: value for key, value in settings.items() if key not in ("data", "output")}
    begin = time.perf_counter()
    result = work(arguments)
    described = {
        "settings": settings,
        "machine": machine(arguments.device),
        "took_seconds": time.perf_counter() - begin,
    }
    device = "" if arguments.device == "cpu" else f"-{arguments.device}"
    print(write(f"salt-{arguments.what}{device}", described | result, arguments.output))


if __name__ == "__main__":
    main()
