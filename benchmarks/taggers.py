"""ParT and ParticleNet of jetloom and of weaver-core on the same jets: training, inference, peak memory, loss curves.

    python benchmarks/taggers.py train part --batch 128
    python benchmarks/taggers.py infer part --batch 512
    python benchmarks/taggers.py memory part --batch 128
    python benchmarks/taggers.py losses part --batch 128

weaver-core runs as its users run it at its best: trimmed sequences, sparse pairs, its own Ranger; with ``--compile``
both are compiled too. It gets jets of mixed length padded to 128 and trims them. jetloom gets the very same jets from
its loader, whose batches come from one length bucket; "same batches" is jetloom on the batches that weaver-core gets.
"""

import argparse
import copy
import itertools
import math
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jets import MANIFEST
from measure import (
    RESULTS,
    ROUNDS,
    Rates,
    Timing,
    count_flops,
    interleaved,
    machine,
    machine_rates,
    peak_bytes,
    print_table,
    ratio,
    report_peak,
    write,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, pad

from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.models import build
from jetloom.training.optimisers import Ranger

DEMO = MANIFEST
PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WEAVER = {
    "part": {
        "pair_input_dim": 4,
        "use_pre_activation_pair": False,
        "embed_dims": [128, 512, 128],
        "pair_embed_dims": [64, 64, 64],
        "num_heads": 8,
        "num_layers": 8,
        "num_cls_layers": 2,
        "fc_params": [],
    },
    "particlenet": {
        "conv_params": [(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))],
        "fc_params": [(256, 0.1)],
        "use_fusion": False,
    },
}
"""The networks of the ParT paper in the terms of weaver-core."""


class Weaver(nn.Module):
    """A model of weaver-core that eats our batches, transposed beforehand as its own loader delivers them."""

    def __init__(self, name: str, n_features: int, n_classes: int, compiled: bool) -> None:
        from weaver.nn.model.ParticleNet import ParticleNet
        from weaver.nn.model.ParticleTransformer import ParticleTransformer

        super().__init__()
        self.name = name
        options = WEAVER[name] | {"num_classes": n_classes, "trim": True, "compile_model": compiled}
        if name == "part":
            self.model: nn.Module = ParticleTransformer(input_dim=n_features, **options)
        else:
            self.model = ParticleNet(input_dims=n_features, **options)
        # It trims from its sixth batch on; that is what counts in a training of millions.
        self.model.trimmer.warmup_steps = 0
        if compiled:
            self.model.compile()

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, C); tensors of the batch are (B, F, N), mask (B, 1, N)."""
        if self.name == "part":
            return self.model(batch.features, v=batch.vectors, mask=batch.mask)
        return self.model(batch.coordinates, batch.features, batch.mask)


def jets_of(manifest: Path, batch: int, number: int, static: bool) -> list[Batch]:
    """``number`` batches of the training split as the loader gives them: each of one length bucket, in random order.

    ``static``: only full ones, so that a compiled model sees one shape for each bucket.
    """
    loader = Loader(
        manifest,
        "train",
        batch_size=batch,
        shuffle=True,
        seed=1,
        samples_per_epoch=2 * number * batch,
        drop_last=static,
    )
    return list(islice(loader, number))


def mixed(batches: list[Batch], width: int) -> list[Batch]:
    """The same jets in random batches of all lengths, padded to ``width``."""
    sizes = [len(batch.label) for batch in batches]

    def wide(x: Tensor) -> Tensor:
        return pad(x if x.dim() > 2 else x[..., None], (0, 0, 0, width - x.shape[1])).view(len(x), width, *x.shape[2:])

    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(1))
    padded = [batch.map_slots(wide) for batch in batches]
    whole = Batch(*(None if x[0] is None else torch.cat(x)[order] for x in zip(*padded, strict=True)))
    edges = [0, *itertools.accumulate(sizes)]
    return [whole.map(lambda x, part=slice(*ends): x[part]) for ends in itertools.pairwise(edges)]


def transposed(batch: Batch) -> Batch:
    """In the layout of weaver-core."""
    swap = [x.transpose(1, 2).contiguous() for x in (batch.features, batch.vectors, batch.coordinates)]
    return Batch(*swap, batch.mask[:, None], batch.label)


def ours(name: str, n_features: int, n_classes: int, compiled: bool) -> nn.Module:
    """The model of the ParT paper, as ``build`` makes it."""
    model = build(name, n_features=n_features, n_classes=n_classes, preset="jetclass")
    if compiled:
        model.compile(dynamic=False)
    return model


class Contest:
    """Models, their batches and their steps.

    Args:
        arguments: of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        described = Manifest.read(arguments.data)
        self.device = torch.device(arguments.device)
        self.dtype = PRECISIONS[arguments.precision]
        self.arguments = arguments
        sizes = (len(described.features), len(described.classes))
        bucketed = jets_of(arguments.data, arguments.batch, arguments.batches, arguments.compile)
        same = mixed(bucketed, described.max_particles)
        batches = {"weaver-core": [transposed(b) for b in same], "jetloom": bucketed, "jetloom, same batches": same}
        self.jets = sum(len(b.label) for b in bucketed)
        self.lengths = torch.cat([b.mask.sum(1) for b in bucketed])
        self.names = [name for name in batches if arguments.only in (None, name)]
        self.batches = {n: [b.to(self.device) for b in batches[n]] for n in self.names}
        self.models: dict[str, nn.Module] = {}
        for name in self.names:
            torch.manual_seed(0)
            make = Weaver if name == "weaver-core" else ours
            self.models[name] = make(arguments.model, *sizes, arguments.compile).to(self.device)
        self.optimisers = {n: self._optimiser(n, m) for n, m in self.models.items()}

    def _optimiser(self, name: str, model: nn.Module) -> Any:
        rate = self.arguments.learning_rate
        if name == "weaver-core":
            from weaver.utils.nn.optimizer.ranger import Ranger as Published

            return Published(model.parameters(), lr=rate)
        return Ranger(model.parameters(), lr=rate, weight_decay=0.0)

    def autocast(self) -> torch.autocast:
        """Of the precision asked for."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def train(self, name: str) -> list[float]:
        """One pass over the batches; the losses."""
        model, optimiser = self.models[name].train(), self.optimisers[name]
        losses = []
        for batch in self.batches[name]:
            optimiser.zero_grad()
            with self.autocast():
                logits = model(batch)
            loss = cross_entropy(logits.float(), batch.label)
            loss.backward()
            optimiser.step()
            # weaver-core reads the loss at every step, jetloom once an epoch.
            losses.append(loss.item() if name == "weaver-core" else loss.detach())
        return torch.as_tensor(losses).tolist()

    def infer(self, name: str) -> None:
        """One pass over the batches without gradient."""
        model = self.models[name].eval()
        with torch.inference_mode(), self.autocast():
            for batch in self.batches[name]:
                model(batch)


def floor(
    model: nn.Module, n_features: int, lengths: Tensor, batches: int, rates: Rates, training: bool
) -> dict[str, Any]:
    """Shortest time by operations on real particles and by weights, activations and pair biases moved once.

    Operations are counted for each jet alone at its own length; a training step costs three forward passes. Bytes: each
    weight once a batch (training: weights, gradients and optimiser state, 8 times), inputs once.

    Args:
        model: whose operations are counted.
        n_features: of a particle.
        lengths: of all jets.
        batches: that they come in.
        rates: of the machine.
        training: a step each, or a prediction.
    """
    model, flops = copy.deepcopy(model).cpu().eval(), 0

    def lone(length: int) -> Callable[[], object]:
        full = torch.ones(1, length, dtype=torch.bool)
        f, v, c = (torch.rand(1, length, k) for k in (n_features, 4, 2))
        return lambda: model(Batch(f, v, c, full))

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        for length, count in zip(*(x.tolist() for x in lengths.unique(return_counts=True)), strict=True):
            flops += count * count_flops(lone(length))
    weights = 4 * sum(p.numel() for p in model.parameters()) * batches
    inputs = 4 * int(lengths.sum()) * (n_features + 6)
    flops, moved = (3 * flops, 8 * weights + inputs) if training else (flops, weights + inputs)
    return {
        "flops": flops,
        "bytes": moved,
        "matrix_flops_per_second": rates.flops,
        "copy_bytes_per_second": rates.bytes,
        "jets_per_second": len(lengths) / rates.seconds(flops, moved),
    }


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Jets per second of all contenders."""
    contest = Contest(arguments)
    work = contest.train if arguments.what == "train" else contest.infer
    timings = interleaved(
        {name: (lambda name=name: work(name)) for name in contest.names},
        rounds=arguments.rounds,
        device=contest.device,
        clock=CLOCKS[arguments.clock],
    )
    rates = machine_rates(contest.device, contest.dtype, CLOCKS[arguments.clock])
    described = Manifest.read(arguments.data)
    sizes = (len(described.features), len(described.classes))
    model = ours(arguments.model, *sizes, compiled=False)
    bound = floor(model, sizes[0], contest.lengths, arguments.batches, rates, arguments.what == "train")
    found = {name: _rates(timing, contest.jets) for name, timing in timings.items()}
    peer = timings.get("weaver-core")
    rows = []
    for name, timing in timings.items():
        gain = ratio(peer, timing) if peer else None
        found[name]["over_weaver"] = gain
        rows.append(
            {
                f"{arguments.what} {arguments.model}, batch {arguments.batch}": name,
                "jets/s": found[name]["jets_per_second"],
                "lowest": found[name]["lowest"],
                "highest": found[name]["highest"],
                "x weaver": gain and gain["median"],
                "share of floor": found[name]["jets_per_second"] / bound["jets_per_second"],
            }
        )
    print_table(rows)
    print(f"floor of this machine: {bound['jets_per_second']:,.0f} jets/s")
    return {"contenders": found, "floor": bound, "mean_length": float(contest.lengths.float().mean())}


def _rates(timing: Timing, jets: int) -> dict[str, Any]:
    return {
        "jets_per_second": jets / timing.median,
        "lowest": jets / timing.high,
        "highest": jets / timing.low,
        "seconds": timing.rounds,
    }


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak resident set of the training, each contender in processes of its own; the median of the rounds."""
    found: dict[str, Any] = {}
    for name in ("weaver-core", "jetloom", "jetloom, same batches"):
        peaks = []
        for _ in range(arguments.rounds):
            command = [__file__, "one-peak", arguments.model, f"--only={name}", f"--batch={arguments.batch}"]
            command += [f"--data={arguments.data}", f"--batches={arguments.batches}", f"--threads={arguments.threads}"]
            peaks.append(peak_bytes(command))
        middle = sorted(peaks, key=lambda p: p["peak"] - p["before"])[len(peaks) // 2]
        found[name] = middle | {"rounds": peaks}
    peer = found["weaver-core"]
    rows = []
    for name, value in found.items():
        grown = value["peak"] - value["before"]
        value["over_weaver"] = grown / (peer["peak"] - peer["before"])
        value["process_over_weaver"] = value["peak"] / peer["peak"]
        rows.append(
            {
                f"peak memory, train {arguments.model}, batch {arguments.batch}": name,
                "MB over start": grown / 1e6,
                "MB in all": value["peak"] / 1e6,
                "x weaver, over start": value["over_weaver"],
                "x weaver, in all": value["process_over_weaver"],
            }
        )
    print_table(rows)
    return {"contenders": found}


def losses(arguments: argparse.Namespace) -> dict[str, Any]:
    """Training losses of all contenders, smoothed over a fifth of the steps."""
    contest = Contest(arguments)
    curves = {name: [loss for _ in range(arguments.rounds) for loss in contest.train(name)] for name in contest.names}
    parts = 5
    size = math.ceil(len(next(iter(curves.values()))) / parts)
    rows = []
    for name, curve in curves.items():
        means = [sum(curve[i : i + size]) / len(curve[i : i + size]) for i in range(0, len(curve), size)]
        rows.append({"mean loss of": name} | {f"part {i + 1}": f"{value:.4f}" for i, value in enumerate(means)})
    print_table(rows)
    return {"contenders": curves}


def main() -> None:
    """Run what was asked for, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "infer", "memory", "losses", "one-peak"])
    parser.add_argument("model", choices=list(WEAVER))
    parser.add_argument("--data", type=Path, default=DEMO, help="manifest.json of the demo's jets")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=8, help="in one round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="32")
    parser.add_argument("--compile", action="store_true", help="both, with torch.compile")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for busy machines, one thread")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="this contender alone")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.device != "cpu" and arguments.what == "memory":
        parser.error("memory: the resident set says nothing of a GPU; take --device cpu")
    if arguments.what == "one-peak":
        contest = Contest(arguments)
        report_peak(lambda: [contest.train(name) for name in contest.names])
        return
    result = {"memory": memory, "losses": losses}.get(arguments.what, speed)(arguments)
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("output", "data")}
    name = f"{arguments.model}_{arguments.what}_{arguments.batch}_{torch.device(arguments.device).type}"
    name += "_compiled" if arguments.compile else ""
    print(write(name, {"settings": settings, "machine": machine(arguments.device)} | result, arguments.output))


if __name__ == "__main__":
    main()
