"""What results use of the data, and what `jetloom data prune` takes away."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from jetloom.cli import main
from jetloom.config import read_experiment
from jetloom.data.prepare import skimlist
from jetloom.data.prepare.skim import skim
from jetloom.data.prepare.tensors import write_manifest, write_shard
from jetloom.data.simulate.shapes import simulate_set
from jetloom.workflow import drivers, store
from jetloom.workflow.data import DataPlan
from jetloom.workflow.plan import Plan
from jetloom.workflow.store import earlier_layout
from tests.support.data_store import call, fabricate, files, write

pytestmark = pytest.mark.seconds

SPLITS = ("train", "val", "test")


def shapes(**changes) -> dict:
    """An experiment on two shapes; changes of the data set."""
    dataset = {
        "classes": ["chair", "table"],
        "splits": {split: [f"{{chair,table}}/{split}"] for split in SPLITS},
        "max_particles": 32,
        "buckets": [32],
        "simulation": {"jets": dict.fromkeys(SPLITS, 3)},
    }
    return {
        "datasets": ["shapes-sim"], "models": ["pointnet"], "seeds": [1], "preset": "tiny",
        "per_dataset": {"shapes-sim": dataset | changes},
    }  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """An empty project as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return tmp_path


def freeze(name: str, config: dict) -> DataPlan:
    """The configuration of an experiment among the results; its data set."""
    path = Path(f"results/{name}/config.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"experiment": name} | config))
    [plan] = Plan(read_experiment(path)).data.values()
    return plan


def trained(name: str, digest: str) -> None:
    write(f"results/{name}/shapes-sim/pointnet/seed1/training.json", {"data_digest": digest})


def refused(*arguments: str) -> str:
    """The one line of a command that fails."""
    with pytest.raises(SystemExit) as ended:
        main(["data", *arguments])
    assert isinstance(ended.value.code, str)
    assert "\n" not in ended.value.code
    return ended.value.code


def rows(capsys) -> dict[str, str]:
    """Lines of the list by directory."""
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    return {line.split()[0]: line for line in lines if line.startswith("data/") and len(line.split()) > 2}


def test_what_two_experiments_use_stays_as_long_as_one_of_them(capsys):
    shared = fabricate(freeze("first", shapes()))
    freeze("second", shapes())
    trained("first", shared)
    before = files()
    call("list")
    listed = rows(capsys)
    assert len(listed) == 3, "simulated raw files, skims and tensors"
    assert all("first, second" in line for line in listed.values())

    shutil.rmtree("results/first")
    call("prune", "--yes")
    assert files() == before
    assert "nothing to remove" in capsys.readouterr().out

    freeze("second", {**shapes(), "datasets": ["jetclass-sim"], "models": ["pfn"], "per_dataset": {}})
    call("prune", "--yes")
    assert files() == set()


def test_a_result_keeps_what_it_was_made_from_when_its_configuration_says_something_else():
    old = freeze("demo", shapes())
    trained("demo", fabricate(old))
    kept = files()
    unused = freeze("demo", shapes(seed=2))
    fabricate(unused)
    freeze("demo", shapes(seed=3))
    assert files() > kept
    call("prune", "--yes")
    assert files() == kept


def test_of_a_directory_that_is_used_only_the_skims_that_are_not_are_removed():
    """Another simulation of the test split: the other skims are the same files."""
    used, other = shapes(), shapes(simulation={"jets": {"train": 3, "val": 3, "test": 5}})
    trained("demo", fabricate(freeze("demo", used)))
    kept = files()
    plan = freeze("other", other)
    assert plan.skim_directory == freeze("demo", used).skim_directory
    fabricate(plan)
    shutil.rmtree("results/other")
    gone = files() - kept
    assert sum(path.endswith(".parquet") for path in gone) == 2
    call("prune", "--yes")
    assert files() == kept


def test_simulated_raw_files_stay_for_the_skims_that_are_used_and_downloaded_ones_always(capsys):
    simulated = freeze("demo", shapes())
    trained("demo", fabricate(simulated))
    Path("results/demo/config.yaml").unlink()
    write("data/shapes-sim/raw-aaaaaaaaaa/about.json", {"holds": "raw files", "settings": {"seed": 4}})
    for path in ("top_tagging/raw/test.h5", "top_tagging/raw-bbbbbbbbbb/test.h5", "top_tagging/checksums.json"):
        write(f"data/{path}", {})
    before = files()
    call("prune", "--yes")
    assert before - files() == {"data/shapes-sim/raw-aaaaaaaaaa/about.json"}
    assert "data/shapes-sim/raw-aaaaaaaaaa " in capsys.readouterr().out
    shutil.rmtree("results/demo")
    call("prune", "--yes", "--results=results")
    assert files() == {path for path in before if "top_tagging" in path}
    assert "rm -r data/NAME/raw" in capsys.readouterr().out


def test_a_link_is_not_removed(project):
    freeze("demo", shapes())
    write("elsewhere/about.json", {"settings": {}})
    Path("data/shapes-sim").mkdir(parents=True)
    link = Path("data/shapes-sim/skim-aaaaaaaaaa")
    link.symlink_to(project / "elsewhere")
    call("prune", "--yes")
    assert link.is_symlink()
    assert files("elsewhere") == {"elsewhere/about.json"}


@pytest.mark.parametrize("broken", ["trainin: {}\n", "scratch_directory: ''\n"])
def test_a_configuration_that_no_longer_holds_keeps_its_data_sets(capsys, broken):
    fabricate(freeze("demo", shapes()))
    write("data/jetclass-sim/skim-aaaaaaaaaa/about.json", {"settings": {}})
    config = Path("results/demo/config.yaml")
    config.write_text(config.read_text() + broken)
    kept = {path for path in files() if "shapes-sim" in path}
    call("prune", "--yes")
    assert files() == kept
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("results/demo/config.yaml")]
    assert "nothing of shapes-sim is removed" in line


def test_raw_files_that_are_not_there_any_more_keep_the_data_set(capsys):
    """A directory of the user's that is not mounted now."""
    Path("mounted").mkdir()
    for name in ("train", "val", "test"):
        write(f"mounted/{name}.h5", {})
    top = {"datasets": ["top_tagging"], "models": ["pfn"], "seeds": [1], "preset": "tiny"}
    fabricate(freeze("demo", top | {"per_dataset": {"top_tagging": {"raw": "mounted"}}}))
    Path("mounted").rename("elsewhere")
    before = files()
    call("prune", "--yes")
    assert files() == before
    assert "nothing of top_tagging is removed" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{", "[]", "experiment: x\ndatasets: [no_such_set]\n", "datasets: 3\n"])
def test_a_configuration_of_which_nothing_can_be_said_keeps_everything(capsys, content):
    fabricate(freeze("demo", shapes()))
    Path("results/demo/config.yaml").write_text(content)
    before = files()
    call("prune", "--yes")
    assert files() == before
    assert "nothing of any data set is removed" in capsys.readouterr().out


def test_a_damaged_result_keeps_everything(capsys):
    fabricate(freeze("demo", shapes()))
    shutil.rmtree("results/demo")
    write("results/demo/shapes-sim/pointnet/seed1/metrics.json", {"run": {}})
    before = files()
    call("prune", "--yes")
    assert files() == before
    assert "nothing of any data set is removed" in capsys.readouterr().out


def test_tensors_with_a_damaged_list_keep_all_skims():
    plan = freeze("demo", shapes())
    trained("demo", fabricate(plan))
    Path("results/demo/config.yaml").unlink()
    Path(f"{plan.tensors_directory}/skims/train.json").write_text("{")
    before = files()
    call("prune", "--yes")
    assert files() == before


class Killed(BaseException):
    """What nobody catches."""


def test_killed_in_the_middle_nothing_looks_finished_and_the_next_one_ends_it(monkeypatch, tmp_path):
    """At every removal of a file in turn."""
    trained("demo", fabricate(freeze("demo", shapes())))
    kept = files()
    fabricate(freeze("other", shapes(seed=2, simulation={"jets": {"train": 3, "val": 3, "test": 5}})))
    shutil.rmtree("results/other")
    shutil.copytree("data", tmp_path / "before")
    places = {path.parent: files(str(path.parent)) for path in Path("data").glob("*/*/about.json")}

    unlink, removed, at = os.unlink, [], -1

    def killed(path, *arguments, **names):
        if len(removed) == at:
            raise Killed
        removed.append(path)
        unlink(path, *arguments, **names)

    ended_by = Killed
    while ended_by is Killed:
        at += 1
        removed.clear()
        shutil.rmtree("data")
        shutil.copytree(tmp_path / "before", "data")
        monkeypatch.setattr(os, "unlink", killed)
        with pytest.raises((SystemExit, Killed)) as ended:
            main(["data", "prune", "--yes"])
        monkeypatch.setattr(os, "unlink", unlink)
        assert kept <= files()
        for place, content in places.items():
            if str(place / "about.json") not in kept:
                assert files(str(place)) in (set(), content), "whole or not there"
        ended_by = ended.type
        call("prune", "--yes")
        assert files() == kept
        assert not list(Path("data").rglob(f"{store.REMOVED}*"))
    assert at > 10


class Terminal(io.StringIO):
    """A user who types something."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_it_shows_how_much_and_asks(capsys, monkeypatch, typed, agreed):
    freeze("demo", shapes())
    for name in ("a", "b"):
        write(f"data/shapes-sim/skim-{name * 10}/about.json", {"settings": {}})
        Path(f"data/shapes-sim/skim-{name * 10}/chair.parquet").write_bytes(bytes(2000))
    before = files()
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    call("prune")
    out = capsys.readouterr().out
    assert "4 files, 4.0 kB in all" in out
    assert "[y/N]" in out
    assert "experiments with results in results: 1" in out
    assert files() == (set() if agreed else before)
    assert ("nothing was removed" in out) is not agreed


def test_without_a_terminal_it_asks_for_yes():
    freeze("demo", shapes())
    write("data/shapes-sim/skim-aaaaaaaaaa/about.json", {"settings": {}})
    assert "--yes" in refused("prune")
    assert files()


def test_without_results_it_refuses_unless_that_is_said(capsys):
    write("data/shapes-sim/skim-aaaaaaaaaa/about.json", {"settings": {}})
    for arguments in ([], ["--yes"]):
        assert "results" in refused("prune", *arguments)
    Path("results").mkdir()
    for arguments in ([], ["--yes"], ["--results=results"], ["--yes", "--results=reslts"]):
        assert "everything would be removed" in refused("prune", *arguments)
    assert files()
    call("prune", "--yes", "--results=results")
    assert not files()


def test_a_directory_that_is_not_there_is_one_line():
    freeze("demo", shapes())
    for verb in (["list"], ["prune", "--yes"]):
        assert "dta: no such directory of data" in refused(*verb, "--data=dta")


def test_results_in_several_directories_count_and_one_of_an_experiment_itself(capsys):
    for name, seed in (("a", 1), ("b", 2)):
        fabricate(freeze(name, shapes(seed=seed)))
        Path(f"results/{name}").rename(name)
    Path("results").rmdir()
    before = files()
    call("prune", "--yes", "--results=a", "--results=b")
    assert files() == before
    call("prune", "--yes", "--results=a")
    assert set() < files() < before
    assert "experiments with results in a: 1" in capsys.readouterr().out


def test_beside_a_workflow_it_refuses(monkeypatch, project):
    freeze("demo", shapes())
    write("data/shapes-sim/skim-aaaaaaaaaa/about.json", {"settings": {}})
    monkeypatch.setattr(drivers, "others", lambda directory: [{"host": "node7", "pid": 12, "started": 0.0}])
    assert "process 12 on node7" in refused("prune", "--yes")
    assert files()


def test_the_layout_without_keys_is_named_and_removed(capsys):
    freeze("demo", shapes())
    write("data/shapes-sim/tensors/manifest.json", {"digest": "old"})
    write("data/shapes-sim/skim/chair/train.parquet", {})
    write("data/mine/tensors/notes.txt", {})
    assert earlier_layout(Path("data")) == [
        "data/shapes-sim: skims and tensors of an earlier layout are not used any more; "
        "`jetloom data prune` removes them"
    ]
    call("list")
    listed = rows(capsys)
    assert listed.keys() == {"data/shapes-sim/skim", "data/shapes-sim/tensors"}
    assert all("earlier layout, not used any more" in line for line in listed.values())

    trained("old", "old")
    call("prune", "--yes")
    assert len(files()) == 3, "the only data that a result was made from"
    shutil.rmtree("results/old")
    call("prune", "--yes")
    assert files() == {"data/mine/tensors/notes.txt"}
    assert earlier_layout(Path("data")) == []


def chain(plan: DataPlan) -> None:
    """Everything from simulation to manifest, as the rules make it."""
    for place, content in plan.places().items():
        write(f"{place}/about.json", content)
    for split in SPLITS:
        made = plan.simulation(split)["settings"]
        target = Path(f"{plan.home}/{Path(plan.raw[f'chair/{split}'].path).parts[-3]}")
        simulate_set(("chair", "table"), (split,), made["jets"], made["seed"], target)
        for name in plan.dataset.raw_files(split):
            skim(plan.preset, plan.dataset, Path(plan.raw[name].path), Path(plan.skim(name)))
        skims = [Path(path) for path in plan.skims(split)]
        listed = Path(f"{plan.tensors_directory}/skims/{split}.json")
        skimlist.write(skims, listed)
        write_shard(plan.preset, plan.dataset, split, 0, skimlist.read(listed),
                    Path(f"{plan.tensors_directory}/{split}_000.safetensors"))  # fmt: skip
    write_manifest(plan.preset, plan.dataset, [Path(path) for path in plan.shards()], Path(plan.manifest))


def test_a_real_chain_is_described_and_kept_by_its_digest(capsys):
    plan = freeze("demo", shapes())
    chain(plan)
    trained("demo", json.loads(Path(plan.manifest).read_text())["digest"])
    kept = files()
    Path("results/demo/config.yaml").unlink()
    chain(freeze("other", shapes(max_particles=16, buckets=[16])))
    shutil.rmtree("results/other")
    call("list")
    listed = rows(capsys)
    assert sorted("no result" in line for line in listed.values()) == [False, False, False, True, True]
    tensors = listed[plan.tensors_directory]
    assert "shapes-sim, xyz, 32 particles" in tensors
    assert f" {len(files(plan.tensors_directory))} " in tensors
    assert "seed 1, jets 3" in listed[str(Path(plan.raw["chair/train"].path).parents[1])]
    call("prune", "--yes")
    assert files() == kept
