"""Jets per second and core of the simulation, per class, against the rates it was designed for.

    python benchmarks/simulate.py --jets 200 --output benchmarks/results/simulate.json

CPU time counts, not wall time, so that a busy machine gives the same answer.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from jetloom.data.simulate.jetclass import CLASSES, simulate

# Jets/s/core measured with the prototype of this simulation on an AMD EPYC core, all times included.
DESIGN = {
    "QCD": 77, "Hbb": 79, "Hcc": 87, "Hgg": 89, "H4q": 88, "Hqql": 77, "Zqq": 71, "Wqq": 91, "Tbqq": 73, "Tbl": 72,
}  # fmt: skip


def measure(label: str, jets: int, mpi: bool, directory: Path) -> dict[str, float]:
    """Rate and size of one file."""
    path = directory / f"{label}.root"
    start = time.process_time()
    simulate(label, jets, 1, path, mpi=mpi, progress=False)
    seconds = time.process_time() - start
    return {"jets_per_second": jets / seconds, "bytes_per_jet": path.stat().st_size / jets}


def startup() -> float:
    """CPU seconds of a fresh process that simulates a single jet."""
    script = (
        "import sys; from pathlib import Path; from jetloom.data.simulate.jetclass import simulate; "
        "simulate('Hbb', 1, 1, Path(sys.argv[1]), mpi=False, progress=False)"
    )
    with tempfile.TemporaryDirectory() as directory:
        before = os.times()
        subprocess.run([sys.executable, "-c", script, f"{directory}/a.root"], check=True)
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure all classes, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jets", type=int, default=200, help="per class")
    parser.add_argument("--mpi", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    results = {"startup_seconds": startup(), "classes": {}}
    print(f"start-up of a process: {results['startup_seconds']:.2f} s")
    print(f"{'class':6s} {'jets/s/core':>12s} {'design':>7s} {'ratio':>6s} {'bytes/jet':>10s}")
    with tempfile.TemporaryDirectory() as directory:
        simulate("Hbb", 5, 1, Path(directory) / "warm-up.root", mpi=False, progress=False)  # imports
        for label in CLASSES:
            found = measure(label, arguments.jets, arguments.mpi, Path(directory))
            results["classes"][label] = found | {"design": DESIGN[label]}
            rate = found["jets_per_second"]
            print(
                f"{label:6s} {rate:12.1f} {DESIGN[label]:7d} {rate / DESIGN[label]:6.2f} {found['bytes_per_jet']:10.0f}"
            )
    seconds = sum(1 / found["jets_per_second"] for found in results["classes"].values())
    results |= {
        "jets_per_class": arguments.jets,
        "mpi": arguments.mpi,
        "jets_per_second": len(CLASSES) / seconds,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("jetloom", "pythia8mc", "fastjet", "numpy", "awkward", "uproot")},
    }
    print(f"all classes: {results['jets_per_second']:.1f} jets/s/core")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
