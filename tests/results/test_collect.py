"""What the report reads."""

import json

from jetloom.results.collect import collect
from jetloom.results.titles import titled
from jetloom.tasks.classification.over_seeds import background
from tests.report.fabricate import fabricate


def test_titles_are_those_of_the_configuration_now(tmp_path) -> None:
    models = {"jetclass-sim": ["part", "linformer", "salt"], "shapes-sim": ["pointnet"]}
    collection = collect(fabricate(tmp_path, models, [1], jets=100))
    config = {"models": ["part"], "per_model": {"linformer": {"title": "Ours"}, "salt": {"based_on": "pointnet"}}}
    titles = {entry.model: entry.title for dataset in titled(collection, config).datasets for entry in dataset.entries}
    assert titles["linformer"] == "Ours"
    assert titles["salt"] == titles["pointnet"] == "PointNet"
    assert titles["part"] == "ParT"
    assert collection.datasets[0].entries[1].title == "Linformer"


def test_a_data_set_has_the_title_of_the_configuration_or_of_its_preset(tmp_path) -> None:
    models = {"jetclass": ["part"], "jetclass-kin": ["part"], "mine": ["part"]}
    given = fabricate(tmp_path, models, [1], jets=100, based_on={"jetclass-kin": "jetclass", "mine": "gone"})
    collection = collect(given)
    assert [dataset.title for dataset in collection.datasets] == ["JetClass", "JetClass", "gone"]
    config = {"datasets": list(models), "per_dataset": {"jetclass-kin": {"title": "Kinematics"}, "jetclass": None}}
    assert [item.title for item in titled(collection, config).datasets] == ["JetClass", "Kinematics", "gone"]


def test_what_an_old_manifest_says_of_title_and_background_does_not_count(tmp_path) -> None:
    given = fabricate(tmp_path, {"jetclass": ["part"]}, [1], jets=100)
    (path,) = given.manifests
    old = {"title": "Old", "background": "Hbb", "working_points": {"Hbb": 0.1}}
    path.write_text(json.dumps(json.loads(path.read_text()) | old))
    (dataset,) = collect(given).datasets
    assert (dataset.title, background(dataset)) == ("JetClass", "QCD")
