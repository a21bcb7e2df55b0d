"""Skim against plain uproot reading the same branches of the same file, and against what reads and writes them.

    python benchmarks/skim.py                  # one file of JetClass's size, 100,000 jets
    python benchmarks/skim.py memory           # peak memory against the size of the file

Needs simulated jets: ``make demo`` leaves them below data/jetclass-sim. CPU time is what counts: a skim is a job of
one core, and there are as many at once as there are cores.
"""

import argparse
import tempfile
import time
from pathlib import Path

import awkward
import jets
import uproot
from measure import ROUNDS, interleaved, machine, peak_bytes, print_table, ratio, report_peak, write

from jetloom.data.prepare.skim import skim
from jetloom.data.sources.jetclass import JET, LABELS, PARTICLE

BRANCHES = [*PARTICLE, *JET, *(f"label_{name}" for name in LABELS)]
CHUNK = 20_000


def read(raw: Path) -> None:
    """Plain uproot, in the pieces that the skim reads."""
    with uproot.open(raw) as file:
        for _ in file["tree"].iterate(BRANCHES, step_size=CHUNK, library="ak"):
            pass


def read_and_write(raw: Path, output: Path) -> None:
    """Plain uproot and awkward's own writer: no check, no selection, no checksum."""
    with uproot.open(raw) as file:
        awkward.to_parquet_row_groups(
            file["tree"].iterate(BRANCHES, step_size=CHUNK, library="ak"), str(output), compression="lz4"
        )


def measure(raw: Path, count: int, rounds: int) -> dict:
    """Rates and ratios, wall and CPU."""
    result = {}
    size = raw.stat().st_size
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "skim.parquet"
        contenders = {
            "uproot reads": lambda: read(raw),
            "uproot reads, awkward writes": lambda: read_and_write(raw, Path(directory) / "plain.parquet"),
            "jetloom skim": lambda: skim("jetclass", jets.dataset(), raw, output),
        }
        rows = []
        for name, clock in (("cpu", time.process_time), ("wall", time.perf_counter)):
            timings = interleaved(contenders, rounds=rounds, clock=clock)
            for contender, timing in timings.items():
                rows.append({
                    "contender": contender, "clock": name, "jets/s": count / timing.median,
                    "MB/s raw": size / timing.median / 1e6,
                    "time over reading": ratio(timing, timings["uproot reads"])["median"],
                })  # fmt: skip
            result[name] = {
                contender: {"seconds": timing._asdict(), "over_reading": ratio(timing, timings["uproot reads"])}
                for contender, timing in timings.items()
            }
        print_table(rows)
        result |= {"rows": rows, "bytes_raw": size, "bytes_skim": output.stat().st_size, "jets": count}
    return result


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["speed", "memory", "one"], default="speed")
    parser.add_argument("--raw", type=Path, default=jets.RAW)
    parser.add_argument("--jets", type=int, nargs="+", default=None, help="in the file")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.what == "one":
        output = arguments.file.with_suffix(".parquet")
        report_peak(lambda: skim("jetclass", jets.dataset(), arguments.file, output))
        return
    sources = sorted(arguments.raw.glob("*.root"))
    counts = arguments.jets or ([100_000] if arguments.what == "speed" else [100_000, 400_000])
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory) / "jets.root"
        if arguments.what == "speed":
            jets.make_file(sources, counts[0], raw)
            write("skim", {"machine": machine()} | measure(raw, counts[0], arguments.rounds))
            return
        rows = []
        for count in counts:
            jets.make_file(sources, count, raw)
            peak = peak_bytes([__file__, "one", "--file", str(raw)])
            rows.append({"jets": count, "raw MB": raw.stat().st_size / 1e6, "peak MB": peak["peak"] / 1e6})
        print_table(rows)
        write("skim_memory", {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
