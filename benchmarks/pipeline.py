"""Where the time of a finished workflow went: per rule, in Snakemake itself, in starting processes, in the report.

    snakemake --cores all                               # once: the demo
    python benchmarks/pipeline.py [DIRECTORY]           # where it ran; default: here

Times of jobs are those of Snakemake's benchmark files, the workflow's own are from its log. "In no job" is the time in
which no job ran: planning, submitting, waiting for files. Starts and the report are measured now, CPU time beside wall
time, because a busy machine stretches the latter only.
"""

import argparse
import csv
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS, ROUNDS, machine, print_table, write

STARTS = {
    "jetloom --help": ("-m", "jetloom.cli", "--help"),
    "jetloom models": ("-m", "jetloom.cli", "models"),
    "import of skim": ("-c", "import jetloom.data.prepare.skim"),
    "import of tensors": ("-c", "import jetloom.data.prepare.tensors"),
    "import of train": ("-c", "import jetloom.training.train"),
    "import of evaluate": ("-c", "import jetloom.evaluation.evaluate"),
    "import of cost": ("-c", "import jetloom.evaluation.cost"),
    "import of report": ("-c", "import jetloom.report.build"),
    "import torch alone": ("-c", "import torch"),
    "python alone": ("-c", "pass"),
}


def jobs_of(directory: Path) -> list[dict[str, Any]]:
    """Rule, begin and end (seconds since 1970), CPU seconds and peak memory (MB) of each benchmarked job."""
    roots = [*directory.glob("results/*/benchmarks"), *directory.glob("data/*/benchmarks/*")]
    jobs = []
    for root, path in ((home, path) for home in sorted(roots) for path in sorted(home.rglob("*.tsv"))):
        with path.open() as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                seconds, end = float(row["s"]), path.stat().st_mtime
                values = {key: _number(row[key]) for key in ("cpu_time", "max_rss")}
                jobs.append({"rule": path.relative_to(root).parts[0], "begin": end - seconds, "end": end} | values)
    if not jobs:
        sys.exit(f"{directory}: no benchmark files; run the workflow there first")
    return jobs


def _number(text: str) -> float:
    # Snakemake writes NA or - for jobs that ended before it could look.
    try:
        return float(text)
    except ValueError:
        return 0.0


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def workflow(directory: Path) -> dict[str, Any]:
    """Rules of the last run, and what of its wall time is spent in no job."""
    logs = sorted((directory / ".snakemake/log").glob("*.snakemake.log"))
    jobs = jobs_of(directory)
    rules = {}
    for rule in sorted({job["rule"] for job in jobs}):
        own = [job for job in jobs if job["rule"] == rule]
        rules[rule] = {
            "jobs": len(own),
            "wall_seconds": sum(job["end"] - job["begin"] for job in own),
            "cpu_seconds": sum(job["cpu_time"] for job in own),
            "peak_mb": max(job["max_rss"] for job in own),
        }
    runs = []
    for log in logs:
        start = datetime.datetime.strptime(log.name.split(".")[0], "%Y-%m-%dT%H%M%S").timestamp()
        end = log.stat().st_mtime
        spans = [(max(job["begin"], start), job["end"]) for job in jobs if start <= job["end"] <= end]
        if spans:
            first, last = min(begin for begin, _ in spans), max(stop for _, stop in spans)
            runs.append({
                "wall_seconds": end - start, "jobs": len(spans), "in_jobs_seconds": covered(spans),
                "in_no_job_seconds": end - start - covered(spans),
                "before_the_first_seconds": first - start, "after_the_last_seconds": end - last,
            })  # fmt: skip
    print_table([{"rule": rule} | values for rule, values in rules.items()])
    if runs:
        print_table([{"run": number + 1} | values for number, values in enumerate(runs)])
    return {"rules": rules, "runs": runs}


def spent(command: Sequence[str], rounds: int) -> dict[str, Any]:
    """Wall and CPU seconds of a process, median of the rounds after one that fills the disk cache."""
    wall, cpu = [], []
    for _ in range(rounds + 1):
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall.append(time.perf_counter() - start)
        after = os.times()
        cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return {
        "wall_seconds": statistics.median(wall[1:]), "lowest": min(wall[1:]), "highest": max(wall[1:]),
        "cpu_seconds": statistics.median(cpu[1:]),
    }  # fmt: skip


def main() -> None:
    """Print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?", default=Path())
    parser.add_argument("--experiment", help="whose report is rebuilt; default: the only one in results/")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the JSON file")
    arguments = parser.parse_args()
    found = workflow(arguments.directory)
    starts = {name: spent([sys.executable, *command], arguments.rounds) for name, command in STARTS.items()}
    experiments = sorted(arguments.directory.glob(f"results/{arguments.experiment or '*'}/provenance.json"))
    if len(experiments) == 1:
        with tempfile.TemporaryDirectory() as page:
            command = [sys.executable, "-m", "jetloom.cli", "report", str(experiments[0].parent), "--output", page]
            starts["report rebuilt"] = spent(command, min(2, arguments.rounds))
    else:
        print(f"{len(experiments)} experiments with provenance.json: the rebuilding of a report is not measured")
    print_table([{"process": name} | values for name, values in starts.items()])
    print(write("pipeline", {"machine": machine(), **found, "processes": starts}, arguments.output))


if __name__ == "__main__":
    main()
