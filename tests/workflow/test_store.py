"""What data are there, who uses them, and what pruning leaves."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from jetloom.cli import main
from jetloom.config import merge, parse_experiment
from jetloom.errors import JetloomError
from jetloom.workflow import store
from jetloom.workflow.plan import Plan

from .conftest import SMALL

BASE = SMALL | {"datasets": ["jetclass-sim"], "per_dataset": {"jetclass-sim": SMALL["per_dataset"]["jetclass-sim"]}}


def make(config: dict) -> Plan:
    """The files of an experiment, as large as they need to be to be looked at."""
    plan = Plan(parse_experiment(config))
    for place, content in plan.about.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        (Path(place) / "about.json").write_text(json.dumps(content))
    [data] = plan.data.values()
    for name, raw in data.raw.items():
        Path(raw.path).write_bytes(bytes(100))
        Path(data.skim(name)).write_bytes(bytes(50))
    lists = Path(data.tensors_directory) / "skims"
    lists.mkdir(exist_ok=True)
    for split in data.dataset.splits:
        rows = [{"file": f"../../{Path(skim).parent.name}/{Path(skim).name}"} for skim in data.skims(split)]
        (lists / f"{split}.json").write_text(json.dumps({"skims": rows}))
    Path(data.manifest).write_text(json.dumps({"digest": f"digest of {data.manifest}"}))
    for kind in ("logs", "benchmarks"):
        (Path(data.home) / kind / Path(data.tensors_directory).name).mkdir(parents=True)
    results = Path(plan.results)
    results.mkdir(parents=True)
    (results / "config.yaml").write_text(yaml.safe_dump(config))
    return plan


def with_data(name: str, **changes: object) -> dict:
    return merge(BASE, {"experiment": name, "per_dataset": {"jetclass-sim": changes}})


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def prune(*arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["data", "prune", *arguments])
    return str(ended.value.code or "")


def test_experiments_share_what_is_equal_and_each_is_named():
    first, second = make(with_data("first")), make(with_data("second", max_particles=16, buckets=[16]))
    used = {place.path: place.used_by for place in store.places(Path("data"), [Path("results")])}
    [one], [other] = first.data.values(), second.data.values()
    assert used[Path(one.tensors_directory)] == ["first"]
    assert used[Path(other.tensors_directory)] == ["second"]
    assert used[Path(one.skim_directory)] == ["first", "second"]
    assert all(names == ["first", "second"] for path, names in used.items() if path.name.startswith("raw"))
    assert not store.unused(store.places(Path("data"), [Path("results")]))


def test_what_a_result_was_made_from_stays_though_its_configuration_moved_on():
    """The page shows the old data until another training has ended."""
    plan = make(with_data("first"))
    [old] = plan.data.values()
    run = Path(plan.results) / "jetclass-sim/salt/seed1"
    run.mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps({"data_digest": f"digest of {old.manifest}"}))
    (Path(plan.results) / "config.yaml").write_text(yaml.safe_dump(with_data("first", simulation={"seed": 9})))
    assert not store.unused(store.places(Path("data"), [Path("results")]))
    (run / "metrics.json").unlink()
    gone = {path.name for path in store.unused(store.places(Path("data"), [Path("results")]))}
    assert Path(old.tensors_directory).name in gone
    assert {Path(raw.path).parent.name for raw in old.raw.values()} <= gone


def test_only_what_nobody_uses_is_removed_and_only_after_a_yes(monkeypatch, capsys):
    first, second = make(with_data("first")), make(with_data("second", simulation={"jets": {"test": 99}}))
    [kept], [gone] = first.data.values(), second.data.values()
    downloads = Path("data/top_tagging/raw")
    downloads.mkdir(parents=True)
    (downloads / "train.h5").write_bytes(bytes(10))
    earlier = Path("data/jetclass-sim/tensors")
    earlier.mkdir()
    (earlier / "manifest.json").write_text("{}")
    assert [line.partition(":")[0] for line in store.earlier_layout(Path("data"))] == ["data/jetclass-sim"]
    (Path(second.results) / "config.yaml").unlink()
    before = {path for path in Path("data").rglob("*")}
    assert prune() == "jetloom: nothing was removed: there is no terminal to ask at; give --yes"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert prune() == ""
    assert {path for path in Path("data").rglob("*")} == before
    assert prune("--yes") == ""
    assert "used by no result in results" in capsys.readouterr().out
    assert not Path(gone.tensors_directory).exists() and not earlier.exists()
    assert not (Path(gone.home) / "logs" / Path(gone.tensors_directory).name).exists()
    assert [Path(gone.skim(name)).exists() for name in gone.dataset.raw_files("test")] == [False, False]
    assert all(Path(path).exists() for name, raw in kept.raw.items() for path in (raw.path, kept.skim(name)))
    assert Path(kept.manifest).is_file()
    assert (downloads / "train.h5").is_file()
    assert prune("--yes") == ""
    assert "is used by a result" in capsys.readouterr().out


def test_nothing_goes_of_a_data_set_whose_configuration_cannot_be_read():
    plan = make(with_data("first"))
    [data] = plan.data.values()
    (Path(plan.results) / "jetclass-sim").mkdir()
    (Path(plan.results) / "config.yaml").write_text("experiment: first\nunknown: 1\n")
    assert not store.unused(store.places(Path("data"), [Path("results")]))
    assert Path(data.manifest).is_file()


def test_a_kill_in_the_middle_leaves_nothing_that_looks_finished(monkeypatch):
    plan = make(with_data("first"))
    (Path(plan.results) / "config.yaml").unlink()
    [data] = plan.data.values()

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove([Path(data.tensors_directory)])
    assert not Path(data.manifest).exists()
    assert list(store.left_behind(Path("data")))
    assert prune("--yes") == ""
    assert not list(store.left_behind(Path("data")))


def test_mistakes_are_one_line(tmp_path):
    assert prune() == "jetloom: results: no such directory; name the directories of results with --results"
    with pytest.raises(JetloomError, match="data: no such directory"):
        store.places(Path("data"), [])
    make(with_data("first"))
    with pytest.raises(SystemExit) as ended:
        main(["data", "list"])
    assert not ended.value.code
