"""What every benchmark shares: contenders in turn, floors of this machine, peak memory, one table, one JSON file."""

import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from jetloom.system.environment import git, hardware, versions

RESULTS = Path(__file__).parent / "results"
MATRIX = 2048
"""Side of the matrices whose product gives the machine's rate on a CPU; four times that on a GPU."""
COPY_BYTES = 2**28
ROUNDS = 5


def session(path: Path, threads: int) -> Any:
    """An exported model, ready to run on so many threads: an ``onnxruntime.InferenceSession``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Timing(NamedTuple):
    """Seconds of one contender over the rounds."""

    median: float
    low: float
    high: float
    rounds: list[float]


class Rates(NamedTuple):
    """What this machine does at best."""

    flops: float
    """Floating-point operations per second of a large matrix product in the precision at hand."""
    bytes: float
    """Bytes per second of a large copy, read and written ones counted."""

    def seconds(self, flops: float, moved: float) -> float:
        """Shortest time for so many operations and so many bytes moved to and from memory."""
        return max(flops / self.flops, moved / self.bytes)


def synchronise(device: torch.device) -> None:
    """Wait for the GPU; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    warm_up: int = 1,
    device: torch.device | str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time contenders in turn, round by round, so that a slow minute of the machine hits all of them.

    Args:
        contenders: name to work; each call is one measurement.
        rounds: measurements of each.
        warm_up: rounds before, not counted.
        device: waited for at the end of each measurement.
        clock: ``time.process_time`` on a busy machine, with one thread: others then hardly disturb.

    Raises:
        ValueError: fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds = {rounds} must be at least 1")
    device = torch.device(device)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for index in range(warm_up + rounds):
        # The order turns too: nobody always runs on caches that the same other one left behind.
        for name in names[index % len(names) :] + names[: index % len(names)]:
            synchronise(device)
            start = clock()
            contenders[name]()
            synchronise(device)
            if index >= warm_up:
                seconds[name].append(clock() - start)
    return {
        name: Timing(statistics.median(values), min(values), max(values), values) for name, values in seconds.items()
    }


def ratio(slow: Timing, fast: Timing) -> dict[str, float]:
    """How many times faster ``fast`` is: the median over rounds of the ratio in each round, lowest and highest."""
    values = [a / b for a, b in zip(slow.rounds, fast.rounds, strict=True)]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def machine_rates(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    clock: Callable[[], float] = time.perf_counter,
) -> Rates:
    """Measured rate of a matrix product and of a copy, the best of several tries."""
    device = torch.device(device)
    size = MATRIX * 4 if device.type == "cuda" else MATRIX
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.zeros(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    product = interleaved({"product": lambda: a @ b}, rounds=7, warm_up=2, device=device, clock=clock)["product"]
    copy = interleaved({"copy": lambda: target.copy_(source)}, rounds=7, warm_up=2, device=device, clock=clock)["copy"]
    return Rates(2 * size**3 / product.low, 2 * COPY_BYTES / copy.low)


def count_flops(work: Callable[[], object]) -> int:
    """Operations of matrix products, convolutions and attention, as torch counts them; 1 multiply-add = 2."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Machine, versions, commit and date of a result."""
    device = torch.device(device)
    found: dict[str, Any] = {
        "device": str(device),
        "hardware": hardware(torch.get_num_threads()),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions() | {"weaver-core": _weaver()},
        "commit": git(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return found


def _weaver() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("weaver-core")
    except PackageNotFoundError:
        return None


def peak_bytes(command: Sequence[str]) -> dict[str, float]:
    """Peak resident set of a fresh Python process, in bytes (Linux), and its work in seconds of processor time.

    Returns:
        ``before`` and ``peak`` of the resident set, and ``cpu_seconds``.

    The process calls :func:`report_peak` around its work, so that what imports and data take is known.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def report_peak(work: Callable[[], object]) -> None:
    """In the process that :func:`peak_bytes` started: do the work and print what it takes."""
    before, start = _resident("VmRSS"), time.process_time()
    work()
    seconds = time.process_time() - start
    print(json.dumps({"before": before, "peak": _resident("VmHWM"), "cpu_seconds": seconds}))


def _resident(key: str) -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(f"{key}:")).split()[1]) * 1024


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal keys as an aligned table; numbers with three significant digits."""
    header = list(rows[0])
    cells = [[_text(row[key]) for key in header] for row in rows]
    widths = [max(len(line[i]) for line in [header, *cells]) for i in range(len(header))]
    for line in [header, *cells]:
        first, *others = (text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths)))  # noqa: B905
        print("  ".join([first, *others]))


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(name: str, result: Mapping[str, Any], directory: Path = RESULTS) -> Path:
    """Write ``NAME.json`` beside the other results.

    Returns:
        the file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(path)
    return path
