"""Pre-training on some classes, transfer to others with few labels: from simulated jets to the page."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from jetloom.config import Run, parse_experiment
from jetloom.training.checkpoint import load
from jetloom.workflow.plan import Plan
from tests.support.project import ROOT, clone
from tests.support.warm_project import WarmProject

FILE = "workflow/experiments/transfer.yaml"
ARMS = ("scratch", "fine_tuned", "frozen", "random_frozen")
TINY = ("--configfile", FILE, "--config", "scale=tiny")


def settings(**changes) -> dict:
    return yaml.safe_load((ROOT / FILE).read_text()) | changes


def test_the_published_size_has_every_arm_at_every_number() -> None:
    experiment = parse_experiment(settings())
    assert not set(experiment.dataset("eight").classes) & set(experiment.dataset("two").classes)
    assert experiment.dataset("two").background == "QCD"
    names = [f"{arm}{end}" for arm in ARMS for end in ("-n100", "-n300", "-n1000", "")]
    assert experiment.models_of("two") == names
    assert len(experiment.runs) == 3 * (1 + len(names))
    plan = Plan(experiment)
    start = plan.trainings[Run("two", "frozen-n300", 3)].weights
    assert start == "results/transfer/eight/pretrained/seed3/best.ckpt"
    assert plan.trainings[Run("two", "random_frozen-n300", 3)].weights is None


def test_another_pre_training_retrains_what_starts_from_it_alone() -> None:
    before = Plan(parse_experiment(settings()))
    changed = settings()
    changed["per_model"]["pretrained"]["training"] = {"epochs": 21}
    after = Plan(parse_experiment(changed))
    other = {
        run.model.split("-")[0] for run in before.trainings if before.trainings[run].key != after.trainings[run].key
    }
    assert other == {"pretrained", "fine_tuned", "frozen"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProject]:
    made = WarmProject(clone(tmp_path_factory.mktemp("transfer") / "clone").path)
    made.run(*TINY)
    yield made
    made.close()


def training(home: Path, model: str) -> dict:
    return json.loads((home / "two" / model / "seed1/training.json").read_text())


@pytest.mark.slow
def test_the_tiny_form_runs_to_the_figure_and_the_table(project: WarmProject) -> None:
    home = project.path / "results/transfer-tiny"
    with (home / "report/figures/two/labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "wrong_percent"]
    assert [row["arm"] for row in rows] == [arm for arm in ARMS for _ in range(2)]
    assert {row["labelled_jets"] for row in rows[::2]} == {"8"}
    assert [row["scratch"] for row in rows] == ["", ""] + ["scratch"] * 6
    assert all(row["difference"] and row["uncertainty"] for row in rows[2:])
    with (home / "report/tables/two-labels.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    page = (home / "report/index.html").read_text()
    assert "What pre-training buys" in page
    assert "Accuracy by labelled jets" in page
    assert not (home / "report/figures/eight/labels.csv").exists()
    # Networks that differ in their labels alone cost the same.
    assert len(list((home / "two").glob("*/cost.json"))) == len(ARMS)
    assert not project.plan(*TINY)


@pytest.mark.slow
def test_arms_start_from_where_they_say(project: WarmProject) -> None:
    home = project.path / "results/transfer-tiny"
    start = load(home / "eight/pretrained/seed1/best.ckpt")["state_dict"]

    def encoder(model: str) -> dict[str, torch.Tensor]:
        state = load(home / "two" / model / "seed1/best.ckpt")["state_dict"]
        return {name: value for name, value in state.items() if not name.startswith("head.")}

    for model in ("frozen", "frozen-n8"):
        assert all(torch.equal(value, start[name]) for name, value in encoder(model).items())
    moved = [not torch.equal(value, start[name]) for name, value in encoder("fine_tuned-n8").items()]
    assert all(moved)
    drawn = [encoder(model) for model in ("random_frozen", "random_frozen-n8")]
    assert all(torch.equal(value, drawn[1][name]) for name, value in drawn[0].items())
    assert training(home, "fine_tuned")["training"]["initial_weights"].endswith("eight/pretrained/seed1/best.ckpt")
    assert training(home, "scratch-n8")["training"]["labelled_jets"] == 8


@pytest.mark.slow
def test_another_number_of_labels_trains_that_alone(project: WarmProject) -> None:
    text = (project.path / FILE).read_text()
    (project.path / "own.yaml").write_text(text.replace("&few [8, all]", "&few [8, 12, all]"))
    jobs = project.plan("--configfile", "own.yaml", "--config", "scale=tiny")
    assert (jobs["train_model"], jobs["evaluate"], jobs["measure_cost"]) == (len(ARMS), len(ARMS), 0)
    assert "skim" not in jobs
