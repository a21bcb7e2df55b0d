"""Pre-training without labels by configuration alone: from simulated jets to the page, and classifiers that start."""

import csv
import json
import re
from collections.abc import Iterator

import pytest

from tests.support.project import Project, clone, edited, more_code
from tests.support.warm_project import WarmProject

EXPERIMENT = ("--configfile", "workflow/experiments/selfsupervised.yaml", "--config", "scale=tiny")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    made = WarmProject(clone(tmp_path_factory.mktemp("selfsupervised") / "clone").path)
    made.run(*EXPERIMENT)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["contrastive", "masked"])
def test_encoders_are_probed_beside_random_ones(project, model):
    home = project.path / f"results/selfsupervised-tiny/jetclass-sim/{model}/seed1"
    content = json.loads((home / "metrics.json").read_text())
    values = content["values"]
    for name in ("probe", "knn"):
        gain = values[f"{name}_accuracy"]["value"] - values[f"random_{name}_accuracy"]["value"]
        assert values[f"{name}_gain"]["value"] == pytest.approx(gain)
    assert 0 < content["probe"]["training_jets"] <= 300
    row = next(csv.DictReader((home / "history.csv").open()))
    own = {"contrastive": {"alignment", "uniformity"}, "masked": {"masked", "unigram"}}[model]
    assert {f"{side}_{name}" for side in ("train", "val") for name in own | {"loss", "accuracy"}} <= row.keys()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["contrastive", "masked"])
def test_a_classifier_starts_from_each(project, model):
    home = project.path / "results/selfsupervised-tiny"
    log = (home / f"logs/train_model/jetclass-sim/from_{model}_seed1.log").read_text()
    assert re.search(rf"Started from .*{model}/seed1/best.ckpt; new: head.weight, head.bias", log)
    content = json.loads((home / f"jetclass-sim/from_{model}/seed1/metrics.json").read_text())
    assert content["task"]["name"] == "classification"


@pytest.mark.slow
def test_the_page_shows_views_and_controls(project):
    home = project.path / "results/selfsupervised-tiny/report"
    page = (home / "index.html").read_text()
    for words in ("Views of a jet", "Frozen encoders", "Random encoder", "Nats gained", "From contrastive"):
        assert words in page, words
    [points] = home.rglob("*views*.csv")
    rows = list(csv.DictReader(points.open()))
    assert list(dict.fromkeys(row["view"] for row in rows)) == [
        "a jet", "rotated", "filled", "smeared", "translated", "all",
    ]  # fmt: skip
    total = {name: sum(float(row["pt"]) for row in rows if row["view"] == name) for name in ("a jet", "filled", "all")}
    assert total["filled"] == pytest.approx(total["a jet"], rel=1e-4)
    assert total["all"] == pytest.approx(total["a jet"], rel=1e-4)


@pytest.mark.slow
def test_a_second_call_does_nothing_and_an_edited_pre_training_trains_no_other_classifier(project):
    assert project.plan(*EXPERIMENT) == {}
    with edited(project.path / "src/jetloom/tasks/contrastive/views.py", more_code):
        jobs = project.plan(*EXPERIMENT)
    # The pre-training, and what starts from it: as a whole, and with a frozen encoder.
    assert jobs["train_model"] == 3
    assert "tensors_shard" not in jobs
