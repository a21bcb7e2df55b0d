"""The public sets: experiments plan from nothing, JetClass in time; files at a site are used, damaged ones refused."""

import resource
import subprocess
from pathlib import Path

import pytest

from jetloom.config import read_experiment, resolve_dataset
from jetloom.workflow.forecast import forecast
from jetloom.workflow.plan import Plan
from tests.support.data import mirrors
from tests.support.project import clone
from tests.support.warm_project import WarmProject

pytestmark = pytest.mark.seconds

PUBLIC = ["hls4ml", "modelnet10", "quark_gluon", "top_tagging"]


def plain(name: str) -> dict:
    """One small network on a public set."""
    return {"experiment": name, "datasets": [name], "models": ["salt"], "seeds": [1], "preset": "tiny"}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_fresh_clone_plans_the_download(fresh, name):
    fresh.write_config(plain(name))
    jobs = fresh.plan()
    dataset = resolve_dataset(name, {}, "")
    raw = {file for split in dataset.splits for file in dataset.raw_files(split)}
    assert jobs[f"download_{name}"] == sum(bool(raw & set(file.raw_files())) for file in dataset.files)
    assert jobs["skim"] >= len(raw)
    assert jobs["train_model"] == 1


def test_raw_files_that_are_there_already_are_not_downloaded(fresh, tmp_path):
    settings = plain("top_tagging") | {"per_dataset": {"top_tagging": {"raw": str(tmp_path / "site")}}}
    (tmp_path / "site").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / f"site/{split}.h5").touch()
    fresh.write_config(settings)
    jobs = fresh.plan()
    assert jobs["skim"] == 3
    assert not any(name.startswith("download") for name in jobs)


def seconds_of_children() -> float:
    """Processor time: other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize("present", [False, True], ids=["from nothing", "raw files are there"])
def test_all_of_jetclass_is_planned_within_a_minute(fresh, present):
    dataset = resolve_dataset("jetclass", {}, "jetclass")
    raw = [file for split in dataset.splits for file in dataset.raw_files(split)]
    if present:
        directory = fresh.path / "data/jetclass/raw"
        directory.mkdir(parents=True)
        for file in raw:
            (directory / file).touch()
    start = seconds_of_children()
    jobs = fresh.plan("--configfile", "workflow/experiments/parmat_jetclass.yaml")
    seconds = seconds_of_children() - start
    experiment = read_experiment(fresh.path / "workflow/experiments/parmat_jetclass.yaml")
    assert jobs["skim"] == len(raw) == 1250
    assert jobs["tensors_shard"] == sum(dataset.shards.values())
    assert jobs["download_jetclass"] == (0 if present else 12)
    assert seconds < 60
    counted = {stage.name: stage.jobs for stage in forecast(Plan(experiment))}
    expected = {"skim": "skim", "tensors": "tensors_shard", "train": "train_model", "evaluate": "evaluate"}
    assert {name: counted[name] for name in expected} == {name: jobs[rule] for name, rule in expected.items()}
    assert counted["measure cost"] == jobs["measure_cost"]


def small(name: str, directory: Path) -> dict:
    """The experiment of a public set on a small local mirror: one network, trained for a moment."""
    return plain(name) | {
        "training": {"epochs": 1, "batch_size": 16},
        "evaluation": {"bootstrap": 10},
        "cost": {"batch_sizes": [1], "particles": [16], "seconds": 0.01},
        "per_dataset": {name: mirrors.build(name, directory)},
    }


def test_a_corrupted_file_of_a_mirror_stops_the_workflow_in_one_line(tmp_path):
    project = clone(tmp_path / "clone")
    settings = small("top_tagging", tmp_path / "site")
    for file in settings["per_dataset"]["top_tagging"]["files"]:
        file["md5"] = "0" * 32
    project.write_config(settings)
    done: subprocess.CompletedProcess[str] = project.snakemake("data")
    assert done.returncode != 0
    for name in ("train", "val", "test"):
        [log] = (project.path / "data/top_tagging/logs").glob(f"raw-*/download/{name}.h5.log")
        [line] = log.read_text().strip().splitlines()[-1:]
        assert line.startswith(f"jetloom: {name}.h5")
        assert "expected " + "0" * 32 in line
    assert not list((project.path / "data/top_tagging").glob("raw*/*.h5"))


@pytest.mark.slow
def test_an_archive_that_fails_stops_only_what_needs_it(tmp_path, request):
    """JetClass in four archives: jets of validation and test are skimmed although a part of training is broken."""
    project = WarmProject(clone(tmp_path / "clone").path)
    request.addfinalizer(project.close)
    project.write_config(small("jetclass", tmp_path / "site"))
    part = tmp_path / "site/mirror/JetClass_Pythia_train_100M_part1.tar"
    right = part.read_bytes()
    part.write_bytes(right[:-1] + b"x")
    assert project.snakemake("data").returncode != 0
    [raw] = (project.path / "data/jetclass").glob("raw-*")

    def made() -> dict[str, int]:
        """Times of skims, and which file a raw one is: Snakemake renews the time when it gets its name."""
        skims = (project.path / "data/jetclass").glob("skim-*/*.parquet")
        return {path.name: path.stat().st_mtime_ns for path in skims} | {
            path.name: path.stat().st_ino for path in (raw / ".download").glob("*.root")
        }

    before = made()
    assert sorted(name.split("-")[0] for name in before if name.endswith(".parquet")) == [
        "HToBB_100", "HToBB_120", "ZJetsToNuNu_100", "ZJetsToNuNu_120"
    ]  # fmt: skip
    assert "HToBB_000.root" in before and "HToBB_010.root" not in before
    part.write_bytes(right)
    jobs = project.plan("data")
    assert (jobs["download_jetclass"], jobs["skim"]) == (1, 4)
    project.run("data")
    assert before.items() <= made().items(), "nothing is made twice"
    assert not project.plan("data")
