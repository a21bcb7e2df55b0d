"""Data of different content never share a place, equal data share one, and words move nothing."""

import os
from pathlib import Path
from typing import Any

import pytest

from jetloom.config import merge, parse_experiment
from jetloom.errors import JetloomError
from jetloom.workflow.data import DataPlan
from jetloom.workflow.plan import Plan
from tests.support.project import SMALL


def plan(changes: dict[str, Any] | None = None, name: str = "jetclass-sim") -> DataPlan:
    """The data of the small experiment with changes of one data set."""
    return Plan(parse_experiment(merge(SMALL, {"per_dataset": {name: changes or {}}}))).data[name]


def moved(changes: dict[str, Any], name: str = "jetclass-sim") -> set[str]:
    """Which of a data set's files lie elsewhere after a change."""
    before, after = plan(name=name), plan(changes, name)
    places = {
        "raw": lambda item: {item.raw[file].path for file in item.dataset.raw_files("train")},
        "skims": lambda item: {item.skim(file) for file in item.dataset.raw_files("train")},
        "tensors": lambda item: {item.manifest},
    }
    return {what for what, find in places.items() if find(before) != find(after)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"simulation": {"seed": 2}}, {"raw", "skims", "tensors"}),
        ({"simulation": {"jets": {"train": 41}}}, {"raw", "skims", "tensors"}),
        # Test jets are others; the training's files stay.
        ({"simulation": {"jets": {"test": 41}}}, {"tensors"}),
        ({"selection": {"jet_pt": [550, 1000]}}, {"skims", "tensors"}),
        ({"feature_set": "kin"}, {"tensors"}),
        ({"max_particles": 16, "buckets": [16]}, {"tensors"}),
        ({"seed": 2}, {"tensors"}),
        ({"shards": {"train": 2}}, {"tensors"}),
        # The default, spelled out.
        ({"shards": {"train": 1}, "simulation": {"seed": 1}}, set()),
        ({"title": "Ours"}, set()),
        ({"background": "QCD", "working_points": {"Hbb": 0.7}}, set()),
        ({"citation": "x", "licence": "y", "homepage": "z", "size": "s", "mirrors": ["/m"], "preset": None}, set()),
    ],
)
def test_only_what_changes_content_moves_it(changes, expected):
    assert moved(changes) == expected


def test_points_are_sampled_in_the_skim():
    assert moved({"seed": 2}, "shapes-sim") == {"skims", "tensors"}
    assert moved({"simulation": {"detector": "ideal"}}, "shapes-sim") == set(), "no detector looks at furniture"


def test_files_between_splits_make_other_tensors_of_the_same_skims():
    """Otherwise weights trained on jets that are test jets now would go on."""
    splits = SMALL["per_dataset"]["jetclass-sim"]["splits"]
    both = plan({"simulation": {"jets": dict.fromkeys(splits, 16)}})
    swapped = plan({"simulation": {"jets": dict.fromkeys(splits, 16)},
                    "splits": splits | {"val": splits["test"], "test": splits["val"]}})  # fmt: skip
    assert {both.skim(name) for name in both.raw} == {swapped.skim(name) for name in swapped.raw}
    assert both.manifest != swapped.manifest


def test_data_sets_of_one_family_share_what_is_equal():
    experiment = {
        "experiment": "x", "datasets": ["jetclass", "jetclass-kin", "jetclass-2M"], "models": ["part"], "seeds": [1],
        "per_dataset": {"jetclass-kin": {"based_on": "jetclass", "feature_set": "kin"}},
    }  # fmt: skip
    made = Plan(parse_experiment(experiment))
    full, kin, small = made.data.values()
    assert full.skim_directory == kin.skim_directory == small.skim_directory
    assert len({full.manifest, kin.manifest, small.manifest}) == 3
    assert {full.downloads, kin.downloads, small.downloads} == {"data/jetclass/raw"}
    [download] = made.downloads
    assert download.name == "jetclass"
    assert download.settings == ("jetclass", {})
    assert len(download.raw) == 1250


def test_a_download_is_a_job_for_each_published_file():
    """Raw files wait for the archives that may hold them, and for no others."""
    base = {"experiment": "x", "seeds": [1], "preset": "tiny"}

    def downloads(name: str, model: str = "part") -> tuple[list[str], dict[tuple[str, ...], int]]:
        [made] = Plan(parse_experiment(base | {"datasets": [name], "models": [model]})).downloads
        return made.plain, {part.archives: len(part.raw) for part in made.parts}

    plain, parts = downloads("jetclass")
    assert not plain
    assert parts == {
        tuple(f"JetClass_Pythia_train_100M_part{number}.tar" for number in range(10)): 1000,
        ("JetClass_Pythia_val_5M.tar",): 50,
        ("JetClass_Pythia_test_20M.tar",): 200,
    }
    assert downloads("top_tagging") == (["train.h5", "val.h5", "test.h5"], {})
    plain, parts = downloads("modelnet10", "pointnet")
    assert not plain and list(parts) == [("ModelNet10.zip",)]


def test_other_files_than_the_published_ones_lie_elsewhere():
    files = [
        {"name": f"{split}.h5", "url": "http://127.0.0.1:1/x", "md5": "0" * 32} for split in ("train", "val", "test")
    ]
    base = {"experiment": "x", "datasets": ["top_tagging"], "models": ["part"], "seeds": [1]}
    published = Plan(parse_experiment(base)).data["top_tagging"]
    other = Plan(parse_experiment(base | {"per_dataset": {"top_tagging": {"files": files}}})).data["top_tagging"]
    assert published.downloads == "data/top_tagging/raw"
    assert other.downloads.startswith("data/top_tagging/raw-")
    assert published.skims("train") != other.skims("train")


def test_a_file_of_the_users_is_known_by_name_size_and_time(tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.h5").write_bytes(b"some")
        os.utime(tmp_path / f"{split}.h5", ns=(10**18, 10**18))
    changes = {"top_tagging": {"raw": str(tmp_path)}}
    base = {"experiment": "x", "datasets": ["top_tagging"], "models": ["part"], "seeds": [1], "per_dataset": changes}

    def skims() -> dict[str, list[str]]:
        data = Plan(parse_experiment(base)).data["top_tagging"]
        return {split: data.skims(split) for split in data.dataset.splits}

    before = skims()
    assert skims() == before
    os.utime(tmp_path / "val.h5", ns=(10**18, 10**18 + 1))
    after = skims()
    assert [split for split in before if before[split] != after[split]] == ["val"]
    (tmp_path / "val.h5").unlink()
    with pytest.raises(JetloomError, match=r"per_dataset.top_tagging.raw: .* does not hold val.h5$"):
        skims()


def test_thousands_of_shards_have_names_of_their_own():
    data = plan({"shards": {"train": 1200}})
    names = [Path(path).name for path in data.shards()]
    assert len(set(names)) == 1202
    assert {"train_000.safetensors", "train_1199.safetensors"} <= set(names)


def test_words_and_handling_train_nothing_and_the_rest_trains_one():
    def keys(**changes: Any) -> dict[Any, str]:
        return {run: item.key for run, item in Plan(parse_experiment(merge(SMALL, changes))).trainings.items()}

    def differ(**changes: Any) -> set[tuple[str, str]]:
        before, after = keys(), keys(**changes)
        return {(run.dataset, run.model) for run in before if before[run] != after[run]}

    assert differ(per_model={"salt": {"title": "Ours", "training": {"workers": 2, "checkpoint_minutes": 1}}}) == set()
    assert differ(report={"title": "x"}, tracking={"offline": True}, cost={"seconds": 1}) == set()
    assert (
        differ(evaluation={"bootstrap": 30}, per_dataset={"jetclass-sim": {"title": "x", "background": None}}) == set()
    )
    assert differ(per_model={"pfn": {"training": {"learning_rate": 0.1}}}) == {("jetclass-sim", "pfn")}
    assert differ(per_dataset={"shapes-sim": {"seed": 2}}) == {("shapes-sim", "salt")}


def test_starting_weights_count_by_what_they_are(tmp_path):
    weights = tmp_path / "best.ckpt"
    changes = {"per_model": {"pfn": {"training": {"initial_weights": str(weights)}}}}

    def key() -> str:
        trainings = Plan(parse_experiment(merge(SMALL, changes))).trainings
        return next(item.key for run, item in trainings.items() if run.model == "pfn")

    weights.write_bytes(b"one")
    before = key()
    assert key() == before
    weights.write_bytes(b"other")
    assert key() != before


def test_another_start_reaches_what_starts_from_it():
    models = {"models": ["salt", "tuned"], "datasets": ["jetclass-sim"],
              "per_dataset": {"jetclass-sim": SMALL["per_dataset"]["jetclass-sim"]}}  # fmt: skip
    start = {"starts_from": {"dataset": "jetclass-sim", "model": "salt", "seed": 1}, "based_on": "salt"}

    def keys(**training: Any) -> dict[str, str]:
        changes = models | {"per_model": {"tuned": start, "salt": {"training": training}}}
        return {run.model: item.key for run, item in Plan(parse_experiment(SMALL | changes)).trainings.items()}

    before, after = keys(), keys(learning_rate=0.1)
    assert before["salt"] != after["salt"]
    assert before["tuned"] != after["tuned"]
