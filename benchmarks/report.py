"""Peak memory and time of a report against the number of test jets and of trainings.

    python benchmarks/report.py                                     # 2M test jets
    python benchmarks/report.py --jets 20_000_000 --seeds 1 3       # as many as JetClass has; 15 GB on disk

Needs nothing: scores are drawn, in files as `jetloom evaluate` writes them; everything else is small and the same for
any number of jets. The report runs in a process of its own.
"""

import argparse
import json
import pickle
import sys
import tempfile
import time
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
from measure import machine, peak_bytes, print_table, report_peak, write

from jetloom.report.build import report

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.report.fabricate import fabricate

MODELS = ["part", "linformer", "salt", "transformer"]
ROW_GROUP = 2**20
"""Rows of a group, Arrow's default."""


def enlarge(path: Path, jets: int, seed: int) -> None:
    """Write so many jets in place of the predictions of a few, of the same run."""
    schema = pyarrow.parquet.read_schema(path)
    classes = json.loads(schema.metadata[b"jetloom"])["classes"]
    labels, own = numpy.random.default_rng(0), numpy.random.default_rng([1, seed])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as file:
        for start in range(0, jets, ROW_GROUP):
            size = min(ROW_GROUP, jets - start)
            label = labels.integers(len(classes), size=size)
            observers = {name: labels.uniform(0, 128, size) for name in schema.names if name.startswith("jet_")}
            scores = own.standard_normal((size, len(classes)), dtype=numpy.float32)
            scores[numpy.arange(size), label] += 2
            scores = numpy.exp(scores)
            scores /= scores.sum(axis=1, keepdims=True)
            columns = {f"score_{name}": scores[:, index] for index, name in enumerate(classes)}
            columns |= {"label": label} | observers
            file.write_table(
                pyarrow.table([pyarrow.array(columns[field.name]).cast(field.type) for field in schema], schema)
            )


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jets", type=int, default=2_000_000, help="test jets of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3], help="trainings of each of the four models")
    parser.add_argument("--directory", type=Path, help="for the files; default: the temporary one of the system")
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.given:
        given = pickle.loads(arguments.given.read_bytes())
        report_peak(lambda: report(given, arguments.given.with_name("report")))
        return
    rows = []
    for seeds in arguments.seeds:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
            given = fabricate(Path(name), {"jetclass-sim": MODELS}, list(range(1, seeds + 1)), jets=1000)
            for number, path in enumerate(given.predictions):
                enlarge(path, arguments.jets, number)
            bytes_stored = sum(path.stat().st_size for path in given.predictions)
            (Path(name) / "given").write_bytes(pickle.dumps(given))
            start = time.perf_counter()
            peak = peak_bytes([__file__, "--given", f"{name}/given"])
            seconds = time.perf_counter() - start
        rows.append({
            "trainings": len(given.predictions), "jets": arguments.jets, "predictions MB": bytes_stored / 1e6,
            "before MB": peak["before"] / 1e6, "peak MB": peak["peak"] / 1e6, "s": seconds,
        })  # fmt: skip
    print_table(rows)
    write(f"report_{arguments.jets}", {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
