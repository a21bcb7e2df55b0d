"""What a finished run leaves, what runs again after which edit, and how a killed training goes on."""

import csv
import json
import shutil
import sqlite3
import subprocess
import time
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.project import SMALL, Project

pytestmark = pytest.mark.slow

# What follows from another SAL-T, on both data sets.
SALT_AGAIN = Counter(train_model=2, evaluate=2, measure_cost=2, report=1, track_results=1)
RUNS = [("jetclass-sim", "salt"), ("jetclass-sim", "pfn"), ("shapes-sim", "salt")]


def test_every_run_has_its_files(finished):
    for dataset, model in RUNS:
        run = finished.path / f"results/small/{dataset}/{model}/seed1"
        assert {file.name for file in run.iterdir()} == {
            "best.ckpt", "examples.json", "history.csv", "metrics.json", "predictions.parquet", "training.json",
        }  # fmt: skip
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics["run"]["model"] == model
        assert 0 <= metrics["values"]["accuracy"]["low"] <= metrics["values"]["accuracy"]["value"] <= 1
        assert len(list(csv.DictReader((run / "history.csv").open()))) == SMALL["training"]["epochs"]


def test_the_report_names_every_model(finished):
    page = (finished.path / "results/small/report/index.html").read_text()
    for word in ("SAL-T", "PFN", "jetclass-sim", "shapes-sim", "simulat"):
        assert word in page


def test_mlflow_holds_one_finished_run_per_training_and_their_parents(finished):
    with sqlite3.connect(finished.path / "results/mlflow.db") as store:
        runs = store.execute(
            "select e.name, r.name, r.status from runs r join experiments e using (experiment_id)"
        ).fetchall()
    assert sorted(runs) == [
        ("small/jetclass-sim", "pfn-full", "FINISHED"),
        ("small/jetclass-sim", "pfn-full-s1", "FINISHED"),
        ("small/jetclass-sim", "salt-full", "FINISHED"),
        ("small/jetclass-sim", "salt-full-s1", "FINISHED"),
        ("small/shapes-sim", "salt-xyz", "FINISHED"),
        ("small/shapes-sim", "salt-xyz-s1", "FINISHED"),
    ]


def test_no_scratch_is_left(finished):
    scratch = finished.path / "scratch"
    assert not scratch.exists() or not list(scratch.iterdir())


def test_the_snakemake_report_has_captions(finished):
    finished.run("--report", "report.zip")
    with zipfile.ZipFile(finished.path / "report.zip") as archive:
        text = "".join(
            archive.read(name).decode(errors="replace")
            for name in archive.namelist()
            if name.endswith((".html", ".js"))
        )
    for word in ("Figures", "Tables", "how to read it", "the whole page", "jetclass-sim", "attention"):
        assert word in text


def test_a_deleted_report_comes_back_the_same(finished):
    """Byte for byte, in one job that trains nothing; and every file is what the record says."""
    directory = finished.path / "results/small"
    record = (directory / "provenance.json").read_bytes()
    before = {path: path.read_bytes() for path in (directory / "report").rglob("*") if path.is_file()}
    shutil.rmtree(directory / "report")
    assert finished.plan("figures", "report") == Counter(report=1)
    finished.run("figures", "report")
    assert {path: path.read_bytes() for path in (directory / "report").rglob("*") if path.is_file()} == before
    assert (directory / "provenance.json").read_bytes() == record
    # What was sent to MLflow is older than the new files and the same.
    finished.run("--touch")
    checked = subprocess.run(
        ["jetloom", "verify", str(directory), "--data"], env=finished.environment, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    assert "files are as they were" in checked.stdout


@contextmanager
def edited(project: Project, file: str, edit):
    """A file of the clone with other content, for a moment."""
    path: Path = project.path / file
    before = path.read_text()
    after = edit(before)
    assert after != before
    path.write_text(after)
    try:
        yield
    finally:
        path.write_text(before)


def with_changes(**changes):
    return lambda _: yaml.safe_dump(SMALL | changes, sort_keys=False)


class TestAfterARun:
    """Training is expensive: only what changes a result runs again."""

    def test_nothing_is_left_to_do(self, finished):
        assert finished.plan() == Counter()
        assert finished.plan("figures") == Counter()

    def test_a_docstring_and_a_comment_retrain_nothing(self, finished):
        with edited(
            finished, "src/jetloom/models/salt.py", lambda text: text.replace('"""', '"""Reworded: ', 1) + "\n# x\n"
        ):
            assert finished.plan() == Counter()

    def test_a_caption_reruns_nothing(self, finished):
        with edited(finished, "workflow/report/figure.rst", lambda text: text + "\nMore words.\n"):
            assert finished.plan() == Counter()

    def test_a_plot_redraws_the_report_alone(self, finished):
        with edited(finished, "src/jetloom/drawing/style.py", lambda text: text + "\n\nEXTRA = 1\n"):
            assert finished.plan() == Counter(report=1, track_results=1)

    def test_a_metric_evaluates_again_and_trains_nothing(self, finished):
        with edited(finished, "src/jetloom/tasks/classification/metrics.py", lambda text: text + "\n\nEXTRA = 1\n"):
            assert finished.plan() == Counter(evaluate=3, report=1, track_results=1)

    def test_the_width_of_salt_retrains_salt_alone(self, finished):
        changed = with_changes(per_model={"salt": {"options": {"d_model": 24}}})
        with edited(finished, "config.yaml", changed):
            jobs = finished.plan()
            assert jobs == SALT_AGAIN
            assert finished.plan("results/small/jetclass-sim/pfn/seed1/metrics.json") == Counter()

    def test_the_code_of_salt_retrains_salt_alone(self, finished):
        with edited(finished, "src/jetloom/models/salt.py", lambda text: text + "\n\nEXTRA = 1\n"):
            assert finished.plan() == SALT_AGAIN

    def test_another_seed_trains_only_that_seed(self, finished):
        with edited(finished, "config.yaml", with_changes(seeds=[1, 2])):
            assert finished.plan() == Counter(train_model=3, evaluate=3, report=1, track_results=1)

    def test_the_title_of_the_page_rewrites_the_page(self, finished):
        with edited(finished, "config.yaml", with_changes(report={"title": "Other"})):
            assert finished.plan() == Counter(report=1, track_results=1)

    def test_titles_and_how_a_training_is_run_train_nothing(self, finished):
        changes = {"salt": {"title": "Ours"}, "pfn": {"training": {"checkpoint_minutes": 3, "workers": 1}}}
        with edited(finished, "config.yaml", with_changes(per_model=changes)):
            assert finished.plan() == Counter(report=1, track_results=1)

    def test_a_cut_makes_new_skims_and_everything_after_them(self, finished):
        small = SMALL["per_dataset"]
        cut = {**small, "jetclass-sim": {**small["jetclass-sim"], "selection": {"jet_pt": [550, 1000]}}}
        with edited(finished, "config.yaml", with_changes(per_dataset=cut)):
            jobs = finished.plan()
            assert "simulate_jets" not in jobs
            assert jobs["skim"] == 6
            assert jobs["train_model"] == 2


def test_a_killed_training_goes_on_and_ends_the_same(finished):
    """kill -9 of the trainer; the next call continues from its last checkpoint to the same figures."""
    path = finished.path
    config = {
        **SMALL,
        "experiment": "long",
        "datasets": ["jetclass-sim"],
        "models": ["salt"],
        "training": {"epochs": 60, "batch_size": 16},
    }
    config["per_dataset"] = {"jetclass-sim": SMALL["per_dataset"]["jetclass-sim"]}
    for name in ("undisturbed", "killed"):
        (path / f"{name}.yaml").write_text(yaml.safe_dump(config | {"experiment": name}))
    # Targets come first: --configfile takes all that follow.
    finished.run("results/undisturbed/jetclass-sim/salt/seed1/metrics.json", "--configfile", "undisturbed.yaml")

    target = "results/killed/jetclass-sim/salt/seed1/metrics.json"
    command = ["snakemake", "--profile", "profiles/local", "--cores", "2", target, "--configfile", "killed.yaml"]
    driver = subprocess.Popen(
        command, cwd=path, env=finished.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(path.glob("scratch/killed-*/last.ckpt")):
        assert time.monotonic() < deadline and driver.poll() is None, "no checkpoint was written"
        time.sleep(0.02)
    trainers = 0
    for process in psutil.Process(driver.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "train" in process.cmdline():
                process.kill()
                trainers += 1
    assert trainers
    assert driver.wait(120) != 0
    assert not (path / target).exists()

    finished.run(target, "--configfile", "killed.yaml")
    training = json.loads((path / "results/killed/jetclass-sim/salt/seed1/training.json").read_text())
    assert training["resumed"] == 1
    results = [
        json.loads((path / f"results/{name}/jetclass-sim/salt/seed1/metrics.json").read_text())
        for name in ("undisturbed", "killed")
    ]
    assert results[0]["values"] == results[1]["values"]
    assert results[0]["confusion"] == results[1]["confusion"]
