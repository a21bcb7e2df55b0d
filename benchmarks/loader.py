"""Batches for training: the loader against weaver-core's own on the same jets, and against copying the mapped bytes.

    python benchmarks/loader.py --batch 512
    python benchmarks/loader.py waiting        # share of time that a training of SAL-T waits for its data

Needs simulated jets: ``make demo`` leaves them below data/jetclass-sim. weaver-core reads, standardises and pads while
it trains; here that was done once by skim and tensors, whose cost benchmarks/skim.py and tensors.py show.
"""

import argparse
import logging
import tempfile
import time
from itertools import islice
from pathlib import Path

import jets
import numpy
import torch
import yaml
from measure import ROUNDS, interleaved, machine, print_table, ratio, write
from torch.nn.functional import cross_entropy

from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.read.loader import Loader
from jetloom.data.sources.jetclass import LABELS
from jetloom.models import build

NEW = {
    "part_mask": "ak.ones_like(part_energy)",
    "part_pt": "np.hypot(part_px, part_py)",
    "part_pt_log": "np.log(part_pt)",
    "part_e_log": "np.log(part_energy)",
    "part_logptrel": "np.log(part_pt/jet_pt)",
    "part_logerel": "np.log(part_energy/jet_energy)",
    "part_deltaR": "np.hypot(part_deta, part_dphi)",
    "part_d0": "np.tanh(part_d0val)",
    "part_dz": "np.tanh(part_dzval)",
}
"""Our features in the words of weaver-core's data configuration."""


def weaver_configuration(path: Path) -> None:
    """The same inputs as ours: 17 features, four-vectors and a mask, 128 particles."""
    features = [
        item.name if item.subtract is None else [item.name, item.subtract, item.multiply, item.low, item.high]
        for item in FEATURE_SETS["full"]
    ]
    vectors = ["part_px", "part_py", "part_pz", "part_energy"]
    options = {"length": 128, "pad_mode": "constant"}
    configuration = {
        "treename": "tree",
        "new_variables": NEW,
        "preprocess": {"method": "manual", "data_fraction": 0.5},
        "inputs": {
            "pf_points": options | {"vars": [["part_deta", None], ["part_dphi", None]]},
            "pf_features": options | {"vars": [item if isinstance(item, list) else [item, None] for item in features]},
            "pf_vectors": options | {"vars": [[name, None] for name in vectors]},
            "pf_mask": options | {"vars": [["part_mask", None]]},
        },
        "labels": {"type": "simple", "value": [f"label_{name}" for name in LABELS]},
    }
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))


def weaver_epoch(raw: Path, configuration: Path, batch: int, asynchronous: bool) -> int:
    """One epoch of weaver-core's loader as its ``train.py`` makes it, in this process."""
    from weaver.utils.dataset import SimpleIterDataset

    data = SimpleIterDataset(
        {"_": [str(raw)]}, str(configuration), for_training=True, fetch_step=0.1, async_load=asynchronous
    )
    return sum(len(x["pf_mask"]) for x, _, _ in torch.utils.data.DataLoader(data, batch_size=batch))


def copy_all(loader: Loader, batch: int) -> int:
    """All bytes that the loader serves, copied from the memory map slice by slice in the order of the file."""
    seen = 0
    for shard in loader._shards:
        for arrays in shard.buckets.values():
            served = list(arrays.values())
            for first in range(0, len(arrays["label"]), batch):
                copies = [numpy.array(array[first : first + batch]) for array in served]
                seen += len(copies[0])
    return seen


def waiting(manifest: Path, batch: int, steps: int) -> dict:
    """Share of a training's time that goes into waiting for batches, SAL-T of JetClass size on this CPU."""
    loader = Loader(manifest, "train", batch_size=batch, shuffle=True)
    model = build("salt", n_features=17, n_classes=10, preset="jetclass")
    optimiser = torch.optim.AdamW(model.parameters())
    waited = 0.0
    began = time.perf_counter()
    batches = islice(loader, steps)
    while True:
        before = time.perf_counter()
        found = next(batches, None)
        waited += time.perf_counter() - before
        if found is None:
            break
        optimiser.zero_grad()
        cross_entropy(model(found), found.label).backward()
        optimiser.step()
    whole = time.perf_counter() - began
    row = {
        "model": "salt",
        "batch": batch,
        "steps": steps,
        "ms/step": 1e3 * whole / steps,
        "waiting %": 100 * waited / whole,
    }
    print_table([row])
    return row


def measure(raw: Path, manifest: Path, batch: int, rounds: int) -> list[dict]:
    """Jets per second of each contender, CPU and wall."""
    loader = Loader(manifest, "train", batch_size=batch, shuffle=True)
    configuration = raw.with_name("weaver.yaml")
    weaver_configuration(configuration)
    contenders = {
        "weaver-core": lambda: weaver_epoch(raw, configuration, batch, False),
        "mapped bytes copied": lambda: copy_all(loader, batch),
        "jetloom": lambda: sum(len(item.label) for item in loader),
    }
    counts = {name: work() for name, work in contenders.items()}
    rows = []
    for name, clock in (("cpu", time.process_time), ("wall", time.perf_counter)):
        timings = interleaved(contenders, rounds=rounds, warm_up=1, clock=clock)
        rows += [
            {
                "contender": contender,
                "clock": name,
                "batch": batch,
                "jets/s": counts[contender] / timing.median,
                "times faster than weaver": ratio(timings["weaver-core"], timing)["median"]
                * counts[contender]
                / counts["weaver-core"],
                "time over copying": ratio(timing, timings["mapped bytes copied"])["median"],
            }
            for contender, timing in timings.items()
        ]
    print_table(rows)
    return rows


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["speed", "waiting"], default="speed")
    parser.add_argument("--raw", type=Path, default=jets.RAW)
    parser.add_argument("--jets", type=int, default=50_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        raw, skimmed = Path(directory) / "jets.root", Path(directory) / "jets.parquet"
        shard, manifest = Path(directory) / "0.safetensors", Path(directory) / "manifest.json"
        jets.make_file(sorted(arguments.raw.glob("*.root")), arguments.jets, raw)
        skim("jetclass", jets.dataset(), raw, skimmed)
        write_shard("jetclass", jets.dataset(), "train", 0, [skimmed], shard)
        write_manifest("jetclass", jets.dataset(), [shard], manifest)
        if arguments.what == "waiting":
            rows = [waiting(manifest, batch, arguments.steps) for batch in arguments.batch]
            write("loader_waiting", {"machine": machine(), "rows": rows})
        else:
            rows = [row for batch in arguments.batch for row in measure(raw, manifest, batch, arguments.rounds)]
            write("loader", {"machine": machine(), "jets": arguments.jets, "rows": rows})


if __name__ == "__main__":
    main()
