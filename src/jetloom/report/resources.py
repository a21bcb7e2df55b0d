"""What jobs asked for and what they used, from the benchmark files that Snakemake writes; what to ask for next time."""

import ast
import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jetloom.drawing.cells import Cell, Records, Table
from jetloom.drawing.numbers import duration, significant
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

SPARE = 1.3
"""Memory to ask for, in units of the largest use seen."""
SNAKEMAKES = 250
"""MB of the two Snakemake processes that live inside a job on a cluster."""
LONGER = 2.0
"""Run time to ask for, in units of the longest job seen."""

LATER = {"report", "track_results"}
"""Rules that do not count: a report that held its own run time would never be the same twice."""

COLUMNS = (
    *("rule", "jobs", "retries", "seconds_total", "seconds_longest", "runtime_asked_minutes"),
    *("threads_asked", "cores_used_mean", "cpu_efficiency", "memory_asked_mb", "memory_used_mb"),
    *("gpus_asked", "gpu_utilisation_percent", "gpu_memory_used_mb", "gpu_memory_total_mb"),
    *("suggested_threads", "suggested_memory_mb", "suggested_runtime_minutes"),
)


@dataclass(frozen=True)
class Job:
    """One job, as its benchmark file has it; None: not measured, as of jobs shorter than a look at them.

    Attributes:
        rule: name.
        seconds: it took.
        cpu_seconds: of all its cores.
        memory_mb: largest resident memory.
        threads: asked for.
        asked: other resources, among them ``mem_mb``, ``runtime`` in minutes, ``gpu``, ``attempt`` (from 1).
    """

    rule: str
    seconds: float
    cpu_seconds: float | None
    memory_mb: float | None
    threads: int | None
    asked: Mapping[str, Any]


def read_jobs(directories: Iterable[Path]) -> list[Job]:
    """Jobs of some experiments and data sets, but for those of the report and of what follows it.

    Args:
        directories: of benchmark files, ``<rule>/....tsv``; one that is not there has none.
    """
    return [
        job
        for directory in directories
        for path in sorted(directory.glob("*/**/*.tsv"))
        if (rule := path.relative_to(directory).parts[0]) not in LATER
        for job in _read(path, rule)
    ]


def write_jobs(jobs: Iterable[Job], path: Path) -> None:
    """Keep what jobs asked for and used, so that a result has it whatever runs later under the same names."""
    with appearing(path) as partial:
        partial.write_text(json.dumps([asdict(job) for job in jobs], indent=1, default=str) + "\n")


def stored_jobs(path: Path) -> list[Job]:
    """What :func:`write_jobs` kept.

    Raises:
        JetloomError: not such a file.
    """
    try:
        return [Job(**row) for row in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise JetloomError(f"{path}: not the resources of jobs ({error}); make the report again") from None


def _read(path: Path, rule: str) -> list[Job]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Job(
            rule,
            float(row["s"]),
            # Both zero: it was over before Snakemake looked.
            _number(row["cpu_time"]) if _number(row["max_rss"]) else None,
            _number(row["max_rss"]) or None,
            # Of Snakemake's option --benchmark-extended, which the profiles set.
            int(row["threads"]) if row.get("threads") else None,
            _resources(row.get("resources")),
        )
        for row in rows
        if _number(row.get("s")) is not None
    ]


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _resources(text: str | None) -> dict[str, Any]:
    try:
        found = ast.literal_eval(text or "{}")
    except (ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}


def summarise(jobs: Sequence[Job], gpus: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row for each rule, in the order of the time it took: the entries of ``COLUMNS``, None where nothing is known.

    Args:
        jobs: all of them.
        gpus: by rule, what its jobs used of their GPUs (``jetloom.system.gpu_use``).
    """
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        rules.setdefault(job.rule, []).append(job)
    rows = [_row(rule, of_rule, gpus.get(rule, ())) for rule, of_rule in rules.items()]
    return sorted(rows, key=lambda row: -row["seconds_total"])


def _row(rule: str, jobs: Sequence[Job], gpus: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    measured = [job for job in jobs if job.cpu_seconds is not None and job.seconds > 0]
    cpu, seconds = sum(job.cpu_seconds or 0.0 for job in measured), sum(job.seconds for job in measured)
    offered = sum(job.seconds * job.threads for job in measured if job.threads)
    memory = _largest(job.memory_mb for job in jobs)
    longest = max(job.seconds for job in jobs)
    attempts = [job.asked["attempt"] for job in jobs if "attempt" in job.asked]
    busiest = _largest((job.cpu_seconds or 0.0) / job.seconds for job in measured if job.seconds > 5)
    values = (
        *(
            rule,
            len(jobs),
            sum(attempts) - len(attempts) if attempts else None,
            sum(job.seconds for job in jobs),
            longest,
            _largest(job.asked.get("runtime") for job in jobs),
        ),
        *(
            _largest(job.threads for job in jobs),
            cpu / seconds if seconds else None,
            cpu / offered if offered else None,
        ),
        *(_largest(job.asked.get("mem_mb") for job in jobs), memory),
        _largest(job.asked.get("gpu") for job in jobs),
        sum(use["utilisation"] for use in gpus) / len(gpus) if gpus else None,
        _largest(use["memory_mb"] for use in gpus),
        _largest(use["memory_total_mb"] for use in gpus),
        max(1, math.ceil(busiest - 0.25)) if busiest is not None else None,
        100 * math.ceil((SPARE * memory + SNAKEMAKES) / 100) if memory is not None else None,
        max(10, math.ceil(LONGER * longest / 60)),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _largest(values: Iterable[Any]) -> Any:
    return max((value for value in values if isinstance(value, int | float)), default=None)


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows as a table of the page."""
    return Table(
        title="Resources asked for and used",
        note=(
            "Used / asked, by rule: memory is that of the largest job, run time that of the longest, cores and GPU "
            "utilisation are means. Suggested: 1.3 times the memory and 250 MB for Snakemake itself, twice the run "
            "time; to be set in the profile (set-threads, set-resources). Jobs of a fraction of a second are not "
            "measured. Retries: failed tries, as the profiles of clusters count them, of jobs that ended well later."
        ),
        columns=[
            *(Cell("Rule"), Cell("Jobs"), Cell("Retries"), Cell("Time in all"), Cell("Longest / asked")),
            *(Cell("Cores used / asked"), Cell("CPU efficiency"), Cell("Memory / asked (MB)"), Cell("GPUs")),
            *(Cell("GPU utilisation"), Cell("GPU memory / total (MB)"), Cell("Suggested")),
        ],
        rows=[(row["rule"], _cells(row)) for row in rows],
        records=Records(COLUMNS, [[row[name] if row[name] is not None else "" for name in COLUMNS] for row in rows]),
    )


def _cells(row: Mapping[str, Any]) -> list[Cell]:
    suggested = [
        f"{name} {row[key]}{unit}"
        for name, key, unit in (
            ("threads", "suggested_threads", ""),
            ("mem_mb", "suggested_memory_mb", ""),
            ("runtime", "suggested_runtime_minutes", ""),
        )
        if row[key] is not None
    ]
    asked = row["runtime_asked_minutes"]
    return [
        Cell(row["rule"]),
        Cell(str(row["jobs"]), row["jobs"]),
        Cell(_whole(row["retries"]), row["retries"]),
        Cell(duration(row["seconds_total"]), row["seconds_total"]),
        Cell(_of(duration(row["seconds_longest"]), asked and duration(60 * asked)), row["seconds_longest"]),
        Cell(_of(_short(row["cores_used_mean"]), row["threads_asked"]), row["cores_used_mean"]),
        Cell(_percent(row["cpu_efficiency"], 100), row["cpu_efficiency"]),
        Cell(_of(_whole(row["memory_used_mb"]), _whole(row["memory_asked_mb"], "")), row["memory_used_mb"]),
        Cell(_whole(row["gpus_asked"]), row["gpus_asked"]),
        Cell(_percent(row["gpu_utilisation_percent"], 1), row["gpu_utilisation_percent"]),
        Cell(_of(_whole(row["gpu_memory_used_mb"]), _whole(row["gpu_memory_total_mb"], "")), row["gpu_memory_used_mb"]),
        Cell(", ".join(suggested) or "–"),
    ]


def _of(used: str, asked: Any) -> str:
    return f"{used} / {asked}" if asked else used


def _short(value: float | None) -> str:
    return "–" if value is None else significant(value, 2)


def _percent(value: float | None, scale: float) -> str:
    return "–" if value is None else f"{scale * value:.0f} %"


def _whole(value: float | None, absent: str = "–") -> str:
    return absent if value is None else f"{value:,.0f}"
