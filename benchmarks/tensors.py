"""Writing a shard against np.savez of the same arrays, and peak memory against the size of the shard.

    python benchmarks/tensors.py               # one shard of 50,000 jets
    python benchmarks/tensors.py memory

Needs simulated jets: ``make demo`` leaves them below data/jetclass-sim. The shard is made from Parquet (read, ordered,
transformed, padded, shuffled, bucketed); np.savez only writes the finished arrays.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jets
import numpy
from measure import ROUNDS, interleaved, machine, peak_bytes, print_table, ratio, report_peak, write

from jetloom.data.prepare.shardfile import open_arrays
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_shard


def measure(skimmed: Path, count: int, rounds: int, directory: Path) -> dict:
    """Rates and ratios, wall and CPU."""
    shard = directory / "shard.safetensors"
    write_shard("jetclass", jets.dataset(), "train", 0, [skimmed], shard)
    arrays = {name.replace("/", "_"): numpy.array(array) for name, array in open_arrays(shard).items()}
    contenders = {
        "np.savez": lambda: numpy.savez(directory / "arrays.npz", **arrays),
        "jetloom tensors": lambda: write_shard("jetclass", jets.dataset(), "train", 0, [skimmed], shard),
    }
    rows, result = [], {"jets": count, "bytes_shard": shard.stat().st_size}
    for name, clock in (("cpu", time.process_time), ("wall", time.perf_counter)):
        timings = interleaved(contenders, rounds=rounds, clock=clock)
        for contender, timing in timings.items():
            over = ratio(timing, timings["np.savez"])
            rows.append({
                "contender": contender, "clock": name, "jets/s": count / timing.median,
                "MB/s": shard.stat().st_size / timing.median / 1e6, "time over savez": over["median"],
            })  # fmt: skip
        result[name] = {contender: timing._asdict() for contender, timing in timings.items()}
    print_table(rows)
    return result | {"rows": rows}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["speed", "memory", "one"], default="speed")
    parser.add_argument("--raw", type=Path, default=jets.RAW)
    parser.add_argument("--jets", type=int, nargs="+", default=None, help="in the shard")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.what == "one":
        output = arguments.file.with_suffix(".safetensors")
        report_peak(lambda: write_shard("jetclass", jets.dataset(), "train", 0, [arguments.file], output))
        return
    counts = arguments.jets or ([50_000] if arguments.what == "speed" else [50_000, 200_000])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        raw, skimmed = Path(name) / "jets.root", Path(name) / "jets.parquet"
        for count in counts:
            jets.make_file(sorted(arguments.raw.glob("*.root")), count, raw)
            skim("jetclass", jets.dataset(), raw, skimmed)
            if arguments.what == "speed":
                write("tensors", {"machine": machine()} | measure(skimmed, count, arguments.rounds, Path(name)))
                return
            peak = peak_bytes([__file__, "one", "--file", str(skimmed)])
            size = skimmed.with_suffix(".safetensors").stat().st_size
            rows.append({"jets": count, "shard MB": size / 1e6, "peak MB": peak["peak"] / 1e6})
    print_table(rows)
    write("tensors_memory", {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
