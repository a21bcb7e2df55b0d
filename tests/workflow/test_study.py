"""The study on simulated jets: it changes one thing at a time, and its tiny form runs from simulation to the page."""

import csv
from collections.abc import Iterator

import pytest
import torch
import yaml

from jetloom.config import Experiment, parse_experiment
from jetloom.models import build
from tests.support.project import ROOT, clone
from tests.support.warm_project import WarmProject

FILE = "workflow/experiments/study.yaml"


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return parse_experiment(yaml.safe_load((ROOT / FILE).read_text()))


def test_jets_and_networks_are_those_of_the_study(experiment):
    data = experiment.dataset("jets")
    assert len(data.classes) == 10
    assert experiment.seeds == [1, 2, 3]
    files = {split: len(data.raw_files(split)) for split in data.splits}
    assert files["train"] * data.simulation.jets["train"] >= 60_000
    assert files["test"] * data.simulation.jets["test"] == 20_000
    for model in experiment.models_of("jets"):
        choice = experiment.model("jets", model)
        with torch.device("meta"):
            network = build(choice.architecture, preset=choice.preset, n_features=17, n_classes=10,
                            max_particles=data.max_particles, **choice.options)  # fmt: skip
        assert sum(item.numel() for item in network.parameters()) < 500_000
        assert choice.preset == "jetclass", "the published size, or the one that the catalogue states"


def test_one_thing_changes_at_a_time(experiment):
    """A variant differs from SAL-T in one option or in the recipe, its twin without convolution in that alone."""
    models = experiment.models_of("jets")
    recipe = {model: experiment.training_of("jets", model).learnt() for model in models}
    options = {model: experiment.model("jets", model).options for model in models}
    assert len({str(recipe[model]) for model in models if not model.endswith(("short", "long", "phases", "few"))}) == 1
    for model in models:
        if experiment.model("jets", model).architecture != "salt" or "plain" in model:
            continue
        assert len(options[model]) + (recipe[model] != recipe["salt"]) == (model != "salt")
    for model in models:
        twin = model.replace("_plain", "")
        if twin != model:
            assert options[model] == options[twin] | {"conv_heights": []}
            assert recipe[model] == recipe[twin]
    steps = {name: experiment.training_of(name, "salt") for name in experiment.datasets}
    assert {item.samples_per_epoch or 60_000 for item in steps.values()} == {60_000}


def test_the_short_form_has_the_same_networks_on_the_jets_of_the_demo(experiment):
    short = parse_experiment(yaml.safe_load((ROOT / FILE).read_text()) | {"scale": "demo"})
    demo = yaml.safe_load((ROOT / "src/jetloom/catalogue/datasets/jetclass-sim.yaml").read_text())
    data = short.dataset("jets")
    assert len(data.raw_files("train")) == 10
    assert data.simulation.jets["train"] == demo["simulation"]["jets"]["train"]
    for model in short.models_of("jets"):
        assert short.model("jets", model) == experiment.model("jets", model)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[WarmProject]:
    made = WarmProject(clone(tmp_path_factory.mktemp("study") / "clone").path)
    made.run("--configfile", FILE, "--config", "scale=tiny")
    yield made
    made.close()


@pytest.mark.slow
def test_the_tiny_form_runs_to_the_page(project):
    home = project.path / "results/study-tiny"
    assert (home / "report/index.html").stat().st_size > 10_000
    for dataset, rows in (("jets", 2), ("four_classes", 1), ("three_inputs", 1)):
        [table] = (home / "report/tables").glob(f"{dataset}-overview.csv")
        assert len(list(csv.DictReader(table.open()))) == rows
