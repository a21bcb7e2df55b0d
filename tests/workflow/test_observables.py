"""Regression, and classes with a mass beside them, by configuration alone: from simulated jets to the page."""

import csv
import json
import re
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.project import ROOT, Project, clone
from tests.support.warm_project import WarmProject

PRETRAINED = """
models: [mass, tagger_with_mass, counted, started]
per_model:
  mass: {based_on: particlenet, task: {regression: {target: jet_mass, relative_to: jet_pt}}}
  tagger_with_mass: {based_on: particlenet, task: [classification, {regression: {target: jet_sdmass, weight: 0.1}}]}
  counted: {based_on: particlenet, task: counting}
  started: {based_on: particlenet, starts_from: {dataset: jetclass-sim, model: counted, seed: 1}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    made = WarmProject(clone(tmp_path_factory.mktemp("observables") / "clone").path)
    # The task of docs/tasks.md: a pre-training that says nothing of a jet that could be evaluated.
    text = (ROOT / "docs/tasks.md").read_text()
    examples = re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", text, flags=re.S)
    assert len(examples) == 2
    for name, content in examples:
        (made.path / name).write_text(content)
    experiment = "workflow/experiments/observables.yaml"
    made.run("--configfile", experiment, "--config", "scale=tiny")
    text = (made.path / experiment).read_text()
    cut = re.sub(r"(?ms)^models:.*?\n", "", text, count=1)
    begin, end = cut.index("per_model:"), cut.index("\nreport:")
    own = cut[:begin] + PRETRAINED + cut[end:]
    (made.path / "own.yaml").write_text(own.replace("experiment: observables", "experiment: own"))
    made.run("--configfile", "own.yaml", "--config", "scale=tiny")
    yield made
    made.close()


@pytest.mark.slow
def test_a_regression_comes_to_the_page(project):
    home = project.path / "results/observables-tiny"
    content = json.loads((home / "jetclass-sim/mass/seed1/metrics.json").read_text())
    assert content["task"]["name"] == "regression"
    table = pq.read_table(home / "jetclass-sim/mass/seed1/predictions.parquet").to_pandas()
    response = table["predicted_jet_mass_over_jet_pt"] / table["true_jet_mass_over_jet_pt"]
    np.testing.assert_allclose(table["true_jet_mass_over_jet_pt"], table["jet_mass"] / table["jet_pt"], rtol=1e-5)
    assert content["values"]["bias"]["value"] == pytest.approx(np.median(response) - 1, abs=0.02)
    low, high = np.quantile(response, [0.16, 0.84])
    assert content["values"]["resolution"]["value"] == pytest.approx((high - low) / 2, rel=0.1)
    history = list(csv.DictReader((home / "jetclass-sim/mass/seed1/history.csv").open()))
    assert {"train_loss", "train_error", "val_loss", "val_error"} <= history[0].keys()
    page = (home / "report/index.html").read_text()
    assert "Resolution against" in page
    assert "PFN, mass" in page


@pytest.mark.slow
def test_unmatched_partons_and_groomed_masses_of_zero_are_left_out(project):
    home = project.path / "results/observables-tiny/jetclass-sim"
    parton = json.loads((home / "parton_pt/seed1/metrics.json").read_text())
    # QCD jets have no parton: 30 of the 300 test jets, less what the selection leaves of each class.
    table = pq.read_table(home / "parton_pt/seed1/predictions.parquet").to_pandas()
    assert parton["left_out"] == (table["aux_genpart_pt"] <= 0).sum() > 0
    assert parton["jets"] + parton["left_out"] == len(table)


@pytest.mark.slow
def test_a_tagger_with_a_mass_beside_its_classes(project):
    home = project.path / "results/observables-tiny"
    content = json.loads((home / "jetclass-sim/tagger_with_mass/seed1/metrics.json").read_text())
    assert content["task"]["name"] == "classification"
    assert {"accuracy", "auc", "rejection"} <= content["values"].keys()
    [also] = content["also"]
    assert also["task"]["settings"]["target"] == "jet_sdmass"
    assert also["values"]["resolution"]["value"] > 0


@pytest.mark.slow
def test_a_pre_training_has_no_evaluation_and_another_training_starts_from_it(project):
    home = project.path / "results/own-tiny/jetclass-sim"
    assert (home / "counted/seed1/best.ckpt").is_file()
    assert not (home / "counted/seed1/metrics.json").exists()
    assert json.loads((home / "started/seed1/metrics.json").read_text())["task"]["name"] == "classification"
    log = (project.path / "results/own-tiny/logs/train_model/jetclass-sim/started_seed1.log").read_text()
    assert re.search(r"Started from .*counted/seed1/best.ckpt; new: head", log)
    assert "counted" in (project.path / "results/own-tiny/report/index.html").read_text()
