"""Derived data among the results: what `jetloom data prune` takes away, and that it touches nothing else there."""

import copy
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml

from jetloom.config import read_experiment
from jetloom.workflow.derived import DerivedPlan
from jetloom.workflow.plan import Plan
from tests.support.data_store import call, fabricate, files, write

SPLITS = ("train", "val", "test")
CODES = {"tokenise": {"dataset": "jetclass-sim", "model": "kmeans", "seed": 1}}
CONFIG = {
    "datasets": ["jetclass-sim", "tokens", "decoded", "generated", "closure"],
    "models": [],
    "seeds": [1],
    "preset": "tiny",
    "per_dataset": {
        "jetclass-sim": {"feature_set": "kin", "models": ["kmeans"]},
        "tokens": {"made_by": CODES, "kind": "tokens", "models": ["generator"]},
        "decoded": {"made_by": CODES},
        "generated": {
            "made_by": {
                "generate": {
                    "dataset": "tokens", "model": "generator", "seed": 1, "jets": dict.fromkeys(SPLITS, 5)
                }
            }
        },
        "closure": {"made_by": {"compare": ["decoded", "generated"]}, "models": ["pfn"]},
    },
    "per_model": {"generator": {"based_on": "omnijet", "task": "next_token"}},
}  # fmt: skip
HOME = Path("results/demo/derived")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    Path("data").mkdir()


def changed(temperature=None, **kmeans):
    """The experiment with other codes, or with jets that are drawn otherwise."""
    config = copy.deepcopy(CONFIG)
    if temperature:
        config["per_dataset"]["generated"]["made_by"]["generate"]["temperature"] = temperature
    config["per_model"]["kmeans"] = {"options": kmeans}
    return config


def freeze(config, name="demo"):
    """The configuration among the results, and all its derived data; digest of each set."""
    path = Path(f"results/{name}/config.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"experiment": name} | config))
    plans = Plan(read_experiment(path)).data
    return {key: fabricate(plan) for key, plan in plans.items() if isinstance(plan, DerivedPlan)}


def names():
    return {path.name for path in HOME.glob("*-*")}


def result(name, digest, file="training.json"):
    write(f"results/demo/{name}/{file}", {"data_digest": digest})


def test_what_the_configuration_plans_stays_and_is_listed(capsys):
    freeze(CONFIG)
    before = files("results")
    # Codes and jets of the same skims share their directory.
    assert sorted(name.split("-")[0] for name in names()) == [
        "compared",
        "generated",
        "tensors",
        "tensors",
        "tensors",
        "tensors",
        "tokenised",
    ]
    call("list")
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if str(HOME) in line}
    assert set(rows) == {str(HOME / name) for name in names()}
    assert not any("no result" in row for row in rows.values())
    tokenised = next(row for path, row in rows.items() if "tokenised" in path)
    assert "jets tokenised: dataset jetclass-sim, model kmeans" in tokenised
    call("prune", "--yes")
    assert files("results") == before


@pytest.mark.seconds
def test_what_it_does_not_plan_any_more_goes_with_its_logs():
    freeze(changed(temperature=2.0))
    old, everything = names(), files("results")
    result("closure/pfn/seed1", "of other data")
    freeze(CONFIG)
    now = {path for path in files("results") if not any(name in path for name in old - names_planned())}
    gone = old - names_planned()
    assert {name.split("-")[0] for name in gone} == {"generated", "compared", "tensors"}
    assert any(f"logs/{name}/" in path for path in everything for name in gone)
    call("prune", "--yes")
    assert names() == names_planned()
    assert files("results") == now
    assert "results/demo/closure/pfn/seed1/training.json" in now


def names_planned():
    plans = Plan(read_experiment(Path("results/demo/config.yaml"))).data.values()
    return {Path(place).name for plan in plans if isinstance(plan, DerivedPlan) for place in plan.places()}


@pytest.mark.parametrize(
    "file", ["closure/pfn/seed1/training.json", "closure/pfn/seed1/metrics.json", "closure/closeness.json"]
)
def test_a_result_keeps_the_tensors_that_it_was_made_from_and_their_skims(file):
    digests = freeze(changed(codes=64))
    old = names()
    name, _, what = file.rpartition("/")
    result(name, digests["closure"], what)
    freeze(CONFIG)
    call("prune", "--yes")
    kept = (names() & old) - names_planned()
    assert sorted(name.split("-")[0] for name in kept) == ["compared", "tensors"]
    shutil.rmtree(f"results/demo/{name}")
    call("prune", "--yes")
    assert names() == names_planned()


def test_a_damaged_list_keeps_all_skims():
    digests = freeze(changed(codes=64))
    old = names()
    result("closure/pfn/seed1", digests["closure"])
    for path in HOME.glob("tensors-*/skims/train.json"):
        path.write_text("{")
    freeze(CONFIG)
    call("prune", "--yes")
    kept = (names() & old) - names_planned()
    assert sorted(name.split("-")[0] for name in kept) == ["compared", "generated", "tensors", "tokenised"]


@pytest.mark.parametrize("config", [None, "{", "experiment: demo\ndatasets: 3\n"])
def test_without_a_plan_nothing_goes(config, capsys):
    digests = freeze(CONFIG)
    result("closure/pfn/seed1", digests["closure"])
    path = Path("results/demo/config.yaml")
    path.unlink() if config is None else path.write_text(config)
    before = files("results")
    call("prune", "--yes")
    assert files("results") == before


def test_a_plan_that_fails_keeps_the_data_sets_of_the_catalogue_too(capsys):
    config = changed()
    freeze(config)
    config["trainin"] = {}
    Path("results/demo/config.yaml").write_text(yaml.safe_dump({"experiment": "demo"} | config))
    write("data/jetclass-sim/skim-aaaaaaaaaa/about.json", {"settings": {}})
    write("data/shapes-sim/skim-aaaaaaaaaa/about.json", {"settings": {}})
    before = files("results")
    call("prune", "--yes")
    assert files("results") == before
    assert "nothing of jetclass-sim is removed" in capsys.readouterr().out
    assert files() == {"data/jetclass-sim/skim-aaaaaaaaaa/about.json"}


def test_of_the_results_nothing_else_is_touched(tmp_path):
    freeze(CONFIG)
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere / "about.json", {})
    key = "aaaaaaaaaa"
    for path in ("derived/mine", "derived/tensors-short", f"derived/skim-{key}", f"derived/raw-{key}", "report"):
        write(f"results/demo/{path}/a.json", {})
    for path in (f"tensors-{key}", f"logs/tokenised-{key}"):
        write(f"results/demo/{path}/a.json", {})
    write("results/other/derived/tensors-bbbbbbbbbb/a.json", {})
    (HOME / "generated-aaaaaaaaaa").symlink_to(elsewhere)
    write(HOME / "tensors-cccccccccc/a.json", {})
    write(HOME / ".removed-tensors-dddddddddd/a.json", {})
    before = files("results")
    call("prune", "--yes")
    gone = {str(HOME / name) for name in ("tensors-cccccccccc/a.json", ".removed-tensors-dddddddddd/a.json")}
    assert before - files("results") == gone
    assert (elsewhere / "about.json").is_file()


def test_an_experiment_that_is_named_twice_is_looked_at_once(capsys):
    freeze(CONFIG)
    write(HOME / "tensors-cccccccccc/a.json", {})
    call("prune", "--yes", "--results=results", "--results=results/demo")
    assert names() == names_planned()
    assert capsys.readouterr().out.count("tensors-cccccccccc") == 1


def test_tensors_of_one_experiment_that_another_one_used():
    """By hand: a digest is the same wherever the result lies."""
    digests = freeze(changed(codes=64))
    freeze(CONFIG)
    write("results/other/training.json", {"data_digest": digests["tokens"]})
    call("prune", "--yes")
    left = names() - names_planned()
    assert sorted(name.split("-")[0] for name in left) == ["tensors", "tokenised"]
    assert json.loads(next(HOME.glob(f"{min(left)}/manifest.json")).read_text())["digest"] == digests["tokens"]
