"""Skims: what they hold, and that memory is bounded by the chunk."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from jetloom.config import resolve_dataset
from jetloom.data.prepare.skim import content_hash, read_facts, skim
from jetloom.data.sources.jetclass import JET, PARTICLE, TRUTH
from jetloom.errors import JetloomError
from tests.support.data import make_jetclass as build

pytestmark = pytest.mark.seconds

DATASET = resolve_dataset("jetclass-sim", {"selection": {}}, "test")


def test_columns_have_the_names_of_the_branches(tmp_path):
    raw = build.make(tmp_path / "a.root", jets=30, label="Hgg")
    skim("test", DATASET, raw, tmp_path / "a.parquet")
    schema = pyarrow.parquet.read_schema(tmp_path / "a.parquet")
    assert schema.names == [*PARTICLE, *JET, *TRUTH, "label"]
    assert str(schema.field("part_px").type).startswith("list<")
    assert schema.field("part_px").type.value_type == "float"
    assert schema.field("label").type == "int8"


def test_the_chunk_changes_nothing(tmp_path):
    raw = build.make(tmp_path / "a.root", jets=70)
    settings = resolve_dataset("jetclass-sim", {"selection": {"jet_pt": [600, None], "jet_eta": [None, 1]}}, "test")
    for chunk in (1, 7, 1000):
        skim("test", settings, raw, tmp_path / f"{chunk}.parquet", chunk=chunk)
    tables = [pyarrow.parquet.read_table(tmp_path / f"{chunk}.parquet") for chunk in (1, 7, 1000)]
    assert tables[0].equals(tables[1]) and tables[1].equals(tables[2])
    assert 0 < tables[0].num_rows < 70
    facts = [read_facts(tmp_path / f"{chunk}.parquet") for chunk in (1, 7, 1000)]
    assert facts[0] == facts[1] == facts[2]


def test_a_skim_knows_what_it_was_made_from(tmp_path):
    raw = build.make(tmp_path / "HToBB_007.root", jets=40, label="Hbb")
    pt = np.sort(build.columns(np.random.default_rng(1001).integers(1, 61, 40))["jet_pt"])
    settings = resolve_dataset("jetclass-sim", {"selection": {"jet_pt": [float(pt[10]), None]}}, "test")
    skim("mine", settings, raw, tmp_path / "a.parquet")
    facts = read_facts(tmp_path / "a.parquet")
    assert (facts["dataset"], facts["raw"], facts["jets_read"], facts["jets_kept"]) == ("mine", raw.name, 40, 30)
    assert facts["raw_sha256"] == content_hash(raw)
    assert facts["selection"]["jet_pt"] == [float(pt[10]), None]
    stored = pyarrow.parquet.read_metadata(tmp_path / "a.parquet").metadata[b"jetloom"]
    assert json.loads(stored)["classes"] == settings.classes


def test_the_content_is_that_of_the_jets_not_of_the_file(tmp_path):
    """ROOT files hold the time at which they were written."""
    facts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        skim("test", DATASET, build.make(tmp_path / f"{name}.root", seed=seed), tmp_path / f"{name}.parquet")
        facts.append(read_facts(tmp_path / f"{name}.parquet"))
    assert facts[0]["raw_sha256"] != facts[1]["raw_sha256"]
    assert facts[0]["content_sha256"] == facts[1]["content_sha256"] != facts[2]["content_sha256"]


def test_jets_of_other_classes_are_left_out(tmp_path):
    few = resolve_dataset("jetclass-sim", {"classes": ["QCD", "Tbl"], "selection": {}}, "few")
    for label, expected in (("Tbl", [1] * 5), ("Hbb", [])):
        skim("few", few, build.make(tmp_path / "a.root", jets=5, label=label), tmp_path / f"{label}.parquet")
        assert pyarrow.parquet.read_table(tmp_path / f"{label}.parquet")["label"].to_pylist() == expected


def test_an_older_skim_is_replaced_only_by_a_whole_one(tmp_path):
    output = tmp_path / "out" / "a.parquet"
    skim("test", DATASET, build.make(tmp_path / "a.root"), output)
    before = output.read_bytes()
    whole = (tmp_path / "a.root").read_bytes()
    (tmp_path / "a.root").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JetloomError):
        skim("test", DATASET, tmp_path / "a.root", output)
    assert output.read_bytes() == before
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 1000])
def test_a_file_that_is_no_skim_is_one_line(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(JetloomError, match=r"a\.parquet: not a readable Parquet file; make the skim again"):
        read_facts(tmp_path / "a.parquet")


class Bomb:
    """An object whose unpickling is seen."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_the_types_of_a_file_is_not_run(tmp_path):
    """Arrow's own extension type of Python kept a pickle in the schema."""
    path, marker = tmp_path / "a.parquet", tmp_path / "ran"
    keys = {"ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickle.dumps(Bomb(marker), 0).decode()}  # fmt: skip
    field = pyarrow.field("part_px", pyarrow.float32(), metadata=keys)
    pandas_said = {"pandas": pickle.dumps(Bomb(marker), 0), "jetloom": "[]"}
    table = pyarrow.table([pyarrow.array([1.0], pyarrow.float32())], pyarrow.schema([field], pandas_said))
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(JetloomError, match="not a skim of version") as caught:
        read_facts(path)
    assert "\n" not in str(caught.value)
    pyarrow.parquet.ParquetFile(path).read_row_groups([0], columns=["part_px"])
    assert not marker.exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
def test_memory_is_bounded_by_the_chunk(tmp_path):
    program = (
        "import sys; from pathlib import Path; from jetloom.config import resolve_dataset\n"
        "from jetloom.data.prepare.skim import skim; assert 'torch' not in sys.modules\n"
        "d = resolve_dataset('jetclass-sim', {'selection': {}}, 'x')\n"
        "skim('x', d, Path(sys.argv[1]), Path(sys.argv[1] + '.parquet'), chunk=1000)\n"
        "assert 'torch' not in sys.modules\n"
        # Not ru_maxrss: that one knows the memory of the process that called, too.
        "status = dict(line.split(':') for line in open('/proc/self/status')); print(status['VmHWM'].split()[0])"
    )
    peaks = {}
    for jets in (3_000, 30_000):
        counts = np.random.default_rng(0).integers(30, 60, jets)
        raw = build.write(tmp_path / f"{jets}.root", build.columns(counts), cluster=1000)
        done = subprocess.run([sys.executable, "-c", program, str(raw)], capture_output=True, text=True, check=True)
        peaks[jets] = float(done.stdout) / 1024
    # All 27,000 jets more are 90 MB.
    assert peaks[30_000] - peaks[3_000] < 30, peaks


def test_what_programs_hide_in_a_directory_of_meshes_is_not_its_content(tmp_path):
    """Snakemake's .snakemake_timestamp: meshes made by hand are the same as those of the workflow."""
    (tmp_path / "chair_0001.off").write_text("OFF 0 0 0")
    before = content_hash(tmp_path)
    (tmp_path / ".snakemake_timestamp").touch()
    assert content_hash(tmp_path) == before
    (tmp_path / "chair_0002.off").write_text("OFF 0 0 0")
    assert content_hash(tmp_path) != before
