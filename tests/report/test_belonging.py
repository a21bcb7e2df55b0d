"""Results that do not belong together, or not to the configuration beside them, make no report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from jetloom.config import Evaluation, parse_experiment
from jetloom.errors import JetloomError
from jetloom.evaluation.made_from import setting_part
from jetloom.identity.digests import Identity
from jetloom.report.belonging import check
from jetloom.report.build import figure
from jetloom.results.collect import collect
from jetloom.results.inputs import Inputs
from jetloom.training.made_from import all_options, chosen_options, setting_parts

from .fabricate import fabricate

pytestmark = pytest.mark.seconds

CONFIG = {"experiment": "demo", "datasets": ["jetclass-sim"], "models": ["salt"], "seeds": [1], "preset": "tiny"}


@pytest.fixture
def given(tmp_path) -> Inputs:
    return fabricate(tmp_path / "results", {"jetclass-sim": ["salt"]}, [1], jets=300)


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_belongs_together_is_accepted(given):
    check(collect(given))


def test_a_training_that_was_made_again_needs_a_new_evaluation(given):
    changed(given.training[0], identity=Identity({"data": "other"}).record())
    with pytest.raises(JetloomError, match=r"metrics.json is the evaluation of another training"):
        check(collect(given))


def test_examples_and_predictions_of_another_evaluation_are_refused(given, tmp_path):
    before = given.examples[0].read_text()
    changed(given.examples[0], identity=Identity({"data": "other"}).record())
    with pytest.raises(JetloomError, match=r"examples.json is of another evaluation"):
        check(collect(given))
    given.examples[0].write_text(before)
    table = pq.read_table(given.predictions[0])
    facts = json.loads(table.schema.metadata[b"jetloom"]) | {"identity": Identity({"data": "other"}).record()}
    pq.write_table(table.replace_schema_metadata({"jetloom": json.dumps(facts)}), given.predictions[0])
    with pytest.raises(JetloomError, match=r"predictions.parquet is of another evaluation"):
        check(collect(given))


def test_results_that_say_nothing_are_refused_in_one_line(given):
    facts = json.loads(given.metrics[0].read_text())
    del facts["identity"]
    given.metrics[0].write_text(json.dumps(facts))
    with pytest.raises(
        JetloomError, match=r"does not say what it was made from \(results of an earlier version\)"
    ) as told:
        check(collect(given))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, None),
        ({"training": {"epochs": 3}}, "recipe"),
        ({"per_model": {"salt": {"options": {"d_model": 24}}}}, "options"),
        ({"evaluation": {"bootstrap": 7}}, "setting of the evaluation"),
        ({"per_dataset": {"jetclass-sim": {"working_points": {"Hbb": 0.6}}}}, "setting of the evaluation"),
        ({"per_model": {"salt": {"title": "Ours", "training": {"workers": 3}}}}, None),
        ({"per_dataset": {"jetclass-sim": {"title": "Ours"}}}, None),
    ],
)
def test_results_of_other_settings_than_those_beside_them_are_refused(given, tmp_path, change, word):
    experiment = parse_experiment(CONFIG)
    choice = experiment.model("jetclass-sim", "salt")
    options = all_options("salt", chosen_options(*choice[:3]))
    recipe, tasks = experiment.training_of("jetclass-sim", "salt"), experiment.tasks_of("salt")
    parts = setting_parts("salt", options, tasks, recipe, 1)
    described = experiment.dataset("jetclass-sim")
    facts = json.loads(given.training[0].read_text())
    trained = Identity({"data": facts["data_digest"], **parts})
    settings = setting_part(Evaluation(), described.background, described.working_points)
    evaluated = Identity({"training": trained.digest, "data": facts["data_digest"], "settings": settings}).record()
    changed(given.training[0], identity=trained.record())
    changed(given.metrics[0], identity=evaluated)
    changed(given.examples[0], identity=evaluated)
    table = pq.read_table(given.predictions[0])
    content = json.loads(table.schema.metadata[b"jetloom"]) | {"identity": evaluated}
    pq.write_table(table.replace_schema_metadata({"jetloom": json.dumps(content)}), given.predictions[0])
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG | change))
    given = replace(given, config=config)
    if word is None:
        figure("roc", given, tmp_path / "figures")
        assert (tmp_path / "figures/jetclass-sim/roc.png").is_file()
    else:
        with pytest.raises(JetloomError, match=f"salt/seed1: made with another {word} than the configuration"):
            figure("roc", given, tmp_path / "figures")
        assert not (tmp_path / "figures").exists()
    shutil.rmtree(tmp_path / "figures", ignore_errors=True)
