"""The table of resources: against jobs whose use is known."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jetloom.report.build import report
from jetloom.report.resources import read_jobs, stored_jobs, summarise, table, write_jobs

pytestmark = pytest.mark.seconds

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
EXTENDED = f"{HEAD}\tjobid\trule_name\twildcards\tparams\tthreads\tcpu_usage\tresources\tinput_size_mb"


def write(path: Path, seconds: float, memory: str, cpu: str, threads: int, resources: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = [seconds, "0:00:01", memory, 0, 0, 0, 0, 0, 0, cpu, 1, path.parts[-3], "{}", "{'a': 'x \"'}", threads, 0]
    path.write_text("\n".join([EXTENDED, "\t".join(map(str, [*row, resources, "{}"]))]) + "\n")


@pytest.fixture
def benchmarks(tmp_path) -> list[Path]:
    """Of the experiment demo and of the data that it uses; another experiment's lie beside them."""
    demo, data = tmp_path / "results/demo/benchmarks", tmp_path / "data/jets/benchmarks/skim-1"
    asked = "{'_cores': 8, 'mem_mb': 4000, 'runtime': 1440, 'gpu': 1, 'attempt': 2, 'tmpdir': '/t'}"
    write(demo / "train_model/jets/salt_seed1.tsv", 100.0, "800.0", "150.0", 4, asked)
    write(demo / "train_model/jets/pfn_seed1.tsv", 300.0, "1000.0", "250.0", 4, asked)
    write(demo / "report/report.tsv", 7.0, "700.0", "7.0", 1, "{}")
    write(tmp_path / "results/other/benchmarks/train_model/jets/salt_seed1.tsv", 9000.0, "9000.0", "9000.0", 4, asked)
    write(data / "skim/a.tsv", 0.2, "NA", "NA", 1, "{'mem_mb': <TBD>}")
    write(data / "skim/b.tsv", 0.1, "0.00", "0.00", 1, "{}")
    (data / "list_skims").mkdir(parents=True)
    (data / "list_skims/train.tsv").write_text(f"{HEAD}\n2.0\t0:00:02\t50.0\t0\t0\t0\t0\t0\t50.0\t1.0\n")
    return [demo, data, tmp_path / "data/none"]


def test_use_by_rule(benchmarks) -> None:
    gpus = {"train_model": [{"utilisation": 60.0, "memory_mb": 900.0, "memory_total_mb": 24000.0},
                            {"utilisation": 80.0, "memory_mb": 700.0, "memory_total_mb": 24000.0}]}  # fmt: skip
    rows = summarise(read_jobs(benchmarks), gpus)
    assert [row["rule"] for row in rows] == ["train_model", "list_skims", "skim"]
    train, listing, skim = rows
    assert (train["retries"], skim["retries"]) == (2, None)
    assert (train["jobs"], train["seconds_total"], train["seconds_longest"]) == (2, 400.0, 300.0)
    # 400 CPU seconds in 400 seconds, on four cores.
    assert train["cores_used_mean"] == pytest.approx(1.0)
    assert train["cpu_efficiency"] == pytest.approx(0.25)
    assert (train["memory_used_mb"], train["memory_asked_mb"], train["runtime_asked_minutes"]) == (1000.0, 4000, 1440)
    assert (train["gpus_asked"], train["gpu_utilisation_percent"], train["gpu_memory_used_mb"]) == (1, 70.0, 900.0)
    # The busier job kept 1.5 cores at work; 1.3 x 1000 + 250 MB; twice five minutes.
    assert train["suggested_threads"] == 2
    assert train["suggested_memory_mb"] == 1600
    assert train["suggested_runtime_minutes"] == 10
    assert listing["cpu_efficiency"] is None
    assert listing["cores_used_mean"] == pytest.approx(0.5)
    assert skim["jobs"] == 2
    assert skim["memory_used_mb"] is None
    assert skim["cores_used_mean"] is None
    assert skim["suggested_memory_mb"] is None
    text = {cells[0].text: [cell.text for cell in cells] for _, cells in table(rows).rows}
    assert text["train_model"][4:8] == ["5 min 00 s / 24 h 00 min", "1.0 / 4", "25 %", "1,000 / 4,000"]
    assert text["train_model"][-1] == "threads 2, mem_mb 1600, runtime 10"
    assert text["skim"][5] == "– / 1"


def test_the_page_shows_it_and_the_numbers_are_a_file(made, benchmarks, tmp_path) -> None:
    write_jobs(read_jobs(benchmarks), tmp_path / "resources.json")
    assert stored_jobs(tmp_path / "resources.json") == read_jobs(benchmarks)
    report(replace(made.results, resources=tmp_path / "resources.json"), tmp_path / "r")
    page = (tmp_path / "r/index.html").read_text()
    assert "Resources asked for and used" in page
    assert "threads 2, mem_mb 1600, runtime 10" in page
    rows = list(csv.DictReader((tmp_path / "r/tables/efficiency.csv").open()))
    assert [row["rule"] for row in rows] == ["train_model", "list_skims", "skim"]
    assert float(rows[0]["memory_used_mb"]) == 1000


def test_what_snakemake_writes_is_read(tmp_path) -> None:
    """A job that holds 200 MB and keeps one core at work for some seconds."""
    work = "import time\na = bytearray(200_000_000)\nwhile time.process_time() < 3:\n    pass\n"
    (tmp_path / "busy.py").write_text(work)
    (tmp_path / "Snakefile").write_text(
        "rule busy:\n    output: 'done'\n    benchmark: 'bench/busy/one.tsv'\n    threads: 2\n"
        "    resources: mem_mb=1234, runtime=7\n"
        f"    shell: '{sys.executable} busy.py && touch {{output}}'\n"
    )
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--benchmark-extended", "--quiet"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    (row,) = summarise(read_jobs([tmp_path / "bench"]), {})
    assert (row["rule"], row["threads_asked"], row["memory_asked_mb"], row["runtime_asked_minutes"]) == (
        "busy", 2, 1234, 7,
    )  # fmt: skip
    assert 200 < row["memory_used_mb"] < 300
    # The last look may come well before the end, on a busy machine.
    assert 0 < row["cores_used_mean"] * row["seconds_total"] < 5
    assert row["cpu_efficiency"] == pytest.approx(row["cores_used_mean"] / 2, rel=0.2)
