"""The experiments of papers: valid as published, and in their tiny form run from a local mirror to the tables."""

import csv
import json
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
import yaml

from jetloom.config import Experiment, parse_experiment
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.report.papers.published import names, published
from tests.support.data import mirrors
from tests.support.project import ROOT, Project, clone
from tests.support.warm_project import WarmProject

PAPERS = {
    "parmat_jetclass": ["part_jetclass"],
    "part_jetclass": ["part_jetclass", "part_sizes", "part_top"],
    "phat_hls4ml": ["phat_hls4ml", "phat_modelnet10"],
    "salt_hls4ml": ["salt_hls4ml"],
    "salt_modelnet10": ["salt_modelnet10"],
    "salt_qg": ["salt_qg"],
    "salt_top": ["salt_top"],
    "size_scan_jetclass": ["size_scan_jetclass"],
    "top_2026": ["features_kindisp", "top_2026"],
}
EXPERIMENTS = sorted(PAPERS)
OTHERS = ["jetclass", "observables", "omnijet", "selfsupervised", "study", "transfer"]
"""Those that rebuild no paper."""


def settings(name: str, **changes) -> dict:
    return yaml.safe_load((ROOT / f"workflow/experiments/{name}.yaml").read_text()) | changes


def full(name: str) -> Experiment:
    return parse_experiment(settings(name))


def test_there_is_one_for_each_paper():
    assert sorted([*PAPERS, *OTHERS]) == sorted(path.stem for path in (ROOT / "workflow/experiments").glob("*.yaml"))


@pytest.mark.seconds
@pytest.mark.parametrize("name", [*EXPERIMENTS, "jetclass", "study"])
def test_every_network_of_an_experiment_can_be_built(name):
    """In the published size, on the data that it is for; the tiny form is a part of the whole."""
    experiment = full(name)
    features = {
        "kin": 7,
        "kinpid": 13,
        "kindisp": 11,
        "full": 17,
        "xyz": 3,
        "salt_hls4ml": 3,
        "salt_top": 3,
        "salt_qg": 3,
    }
    for dataset in experiment.datasets:
        data = experiment.dataset(dataset)
        for model in experiment.models_of(dataset):
            choice = experiment.model(dataset, model)
            network = build(choice.architecture, preset=choice.preset, n_features=features[data.feature_set],
                            n_classes=len(data.classes), max_particles=data.max_particles,
                            **choice.options)  # fmt: skip
            # PELICAN nano is the one that is meant to be small: 10 H + 1 parameters for two classes (arXiv:2310.16121).
            least = 100 if choice.architecture == "pelican_nano" else 1000
            assert sum(item.numel() for item in network.parameters()) > least
    tiny = parse_experiment(settings(name, scale="tiny"))
    assert tiny.experiment == f"{name}-tiny"
    assert 0 < len(tiny.runs) < len(experiment.runs)


@pytest.mark.parametrize(("name", "scale"), [("omnijet", "jetclass"), ("selfsupervised", "published")])
def test_pre_trainings_have_a_form_of_published_size(name, scale):
    """Which is no part of the tests: their networks can be built, with the tasks that they are trained for."""
    experiment = parse_experiment(settings(name, scale=scale))
    sizes = {}
    for dataset in experiment.datasets:
        data = experiment.dataset(dataset)
        codes = getattr(data, "codes", None)
        for model in experiment.models_of(dataset):
            choice = experiment.model(dataset, model)
            with torch.device("meta"):
                network = build(choice.architecture, preset=choice.preset, n_features=codes or 3,
                                n_classes=len(data.classes), max_particles=data.max_particles,
                                **choice.options)  # fmt: skip
            encoder = [item.numel() for key, item in network.named_parameters() if not key.startswith("head.")]
            sizes[choice.architecture] = sum(encoder)
    published = {"omnijet": {"vqvae": 833_551, "omnijet": 4_464_640}, "selfsupervised": {"jetclr": 24_044_000}}
    assert published[name].items() <= sizes.items()


@pytest.mark.parametrize(("name", "trainings"), [("phat_hls4ml", 16), ("top_2026", 18)])
def test_the_form_on_simulated_jets(name, trainings):
    """Nothing is downloaded, every network can be built, and what is scanned stays what it is on the public set."""
    experiment, whole = parse_experiment(settings(name, scale="simulated")), full(name)
    assert (experiment.experiment, len(experiment.runs)) == (f"{name}-simulated", trainings)
    for dataset in experiment.datasets:
        data = experiment.dataset(dataset)
        assert data.simulated and not data.files
        for model in experiment.models_of(dataset):
            choice, published_choice = experiment.model(dataset, model), whole.model(whole.datasets[-1], model)
            assert choice.architecture == published_choice.architecture
            scanned = {
                key: value for key, value in choice.options.items() if key in ("patch", "sort", "tokens", "gate")
            }
            assert scanned == {key: published_choice.options[key] for key in scanned}
            features = {"kin": 7, "kinpid": 13, "kindisp": 11, "full": 17}[data.feature_set]
            network = build(choice.architecture, preset=choice.preset, n_features=features, n_classes=10,
                            max_particles=data.max_particles, **choice.options)  # fmt: skip
            # PELICAN nano is the one that is meant to be small: 10 H + 1 parameters for two classes (arXiv:2310.16121).
            least = 100 if choice.architecture == "pelican_nano" else 1000
            assert sum(item.numel() for item in network.parameters()) > least


def test_trainable_parameters_are_the_published_ones():
    """hls4ml and ModelNet10: networks as the experiments name them against the counts of the papers."""
    checked = 0
    for name, dataset in (
        ("salt_hls4ml", "hls4ml"),
        ("salt_modelnet10", "modelnet10"),
        ("phat_hls4ml", "hls4ml"),
        ("phat_modelnet10", "modelnet10-1000"),
    ):
        experiment, table = full(name if name != "phat_modelnet10" else "phat_hls4ml"), published(name)
        data = experiment.dataset(dataset)
        for model in experiment.models_of(dataset):
            if model not in table.rows or not (count := table.value(model, "parameters")):
                continue
            choice = experiment.model(dataset, model)
            network = build(choice.architecture, preset=choice.preset, n_features=3, n_classes=len(data.classes),
                            max_particles=data.max_particles,
                            **choice.options)  # fmt: skip
            trained = sum(parameter.numel() for parameter in network.parameters())
            running = sum(item.numel() for key, item in network.named_buffers() if ".running_" in key)
            # The report on ModelNet10 counts as Keras does.
            assert trained + (running if name == "phat_modelnet10" else 0) == count.value, model
            checked += 1
    assert checked >= 19


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_published_recipes_are_what_the_experiments_train(name):
    """What an experiment trains under the name of a published row is like with like, but for the jets themselves."""
    experiment = full(name)
    for table in (published(key) for key in names()):
        for key, row in table.rows.items():
            for dataset in experiment.datasets:
                changes = experiment.per_dataset.get(dataset)
                preset = (changes and changes.based_on) or dataset
                model = row.run or key
                if row.model is None or preset != (row.dataset or table.dataset) or "-k" in dataset:
                    continue
                if (
                    model in experiment.models_of(dataset)
                    and experiment.dataset(dataset).feature_set == table.feature_set
                ):
                    choice = experiment.model(dataset, model)
                    assert choice.architecture == row.model
                    assert choice.preset == table.preset
                    assert row.options.items() <= choice.options.items()
                    assert experiment.dataset(dataset).max_particles == table.max_particles
                    recipe = experiment.training_of(dataset, model)
                    assert {item: getattr(recipe, item) for item in row.training} == row.training


def test_an_unknown_scale_is_an_error_that_names_the_known_ones():
    with pytest.raises(JetloomError, match=r"scale: unknown name 'smal'.*tiny"):
        parse_experiment(settings("salt_top", scale="smal"))


def test_a_start_that_is_not_trained_is_an_error():
    changed = settings("part_jetclass")
    changed["per_model"]["part_fine_tuned"]["starts_from"]["seed"] = 7
    with pytest.raises(
        JetloomError, match=r"part_fine_tuned\.starts_from: no training of part on jetclass-kin with seed 7"
    ):
        parse_experiment(changed)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """A clone, and beside it a mirror of every set with what an experiment says to use it."""
    home = tmp_path_factory.mktemp("papers")
    made = WarmProject(clone(home / "clone").path)
    site = {name: mirrors.build(name, home / name) for name in mirrors.MIRRORS}
    for name in ("jetclass-2M", "jetclass-10M", "jetclass-kin", "jetclass-kinpid", "jetclass-kindisp"):
        site[name] = site["jetclass"]
    for name in ("top_tagging", "quark_gluon"):
        site[f"{name}-salt"] = site[name]
    site["modelnet10-1000"] = site["modelnet10"]
    (made.path / "site.yaml").write_text(yaml.safe_dump(site))
    yield made
    made.close()


@pytest.fixture(scope="module")
def run_tiny(project) -> Callable[[str], list[str]]:
    """Run the tiny form of an experiment, once for all tests; returns its arguments."""

    @cache
    def run(name: str) -> list[str]:
        arguments = tiny(project, name)
        project.run(*arguments)
        return arguments

    return run


def tiny(project: Project, name: str) -> list[str]:
    """Arguments of an experiment's tiny form on the local mirrors."""
    site = yaml.safe_load((project.path / "site.yaml").read_text())
    used = parse_experiment(settings(name, scale="tiny")).datasets
    file = project.path / f"site_{name}.yaml"
    file.write_text(yaml.safe_dump({"per_dataset": {key: site[key] for key in used}}))
    return ["--configfile", f"workflow/experiments/{name}.yaml", file.name, "--config", "scale=tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_tiny_form_runs_to_the_papers_tables(project, run_tiny, name):
    arguments = run_tiny(name)
    report = project.path / f"results/{name}-tiny/report"
    assert (report / "index.html").stat().st_size > 10_000
    for paper in PAPERS[name]:
        for suffix in ("html", "tex", "csv", "md"):
            assert (report / f"tables/paper-{paper}.{suffix}").stat().st_size > 500
        with (report / f"tables/paper-{paper}.csv").open() as file:
            rows = list(csv.DictReader(file))
        ours = [row for row in rows if row["ours"]]
        assert ours, "something is measured"
        assert {row["like_with_like"] for row in ours} == {"False"}, "forty jets repeat no paper"
        assert all("published" in row["differences"] and not row["sigma"] for row in ours)
    assert not project.plan(*arguments)

    # Another mirror is no reason to do any work again; only the record of the configuration is written anew.
    site = project.path / f"site_{name}.yaml"
    changed = yaml.safe_load(site.read_text())
    for data in changed["per_dataset"].values():
        data["mirrors"] = [*data.get("mirrors", []), "http://127.0.0.1:1"]
    site.write_text(yaml.safe_dump(changed))
    jobs = project.plan(*arguments)
    assert not {"skim", "tensors_shard", "train_model", "evaluate", "measure_cost"} & set(jobs)
    assert not any(job.startswith("download") for job in jobs)


@pytest.mark.slow
def test_fine_tuning_starts_from_the_other_training(project, run_tiny):
    run_tiny("part_jetclass")
    facts = json.loads(
        (project.path / "results/part_jetclass-tiny/top_tagging/part_fine_tuned/seed1/training.json").read_text()
    )
    assert facts["training"]["initial_weights"].endswith("jetclass-kin/part/seed1/best.ckpt")
    assert facts["training"]["head_learning_rate_factor"] == 50
    log = (
        project.path / "results/part_jetclass-tiny/logs/train_model/top_tagging/part_fine_tuned_seed1.log"
    ).read_text()
    assert "Started from" in log
    # Data sets that differ in the features share their skims.
    assert not (project.path / "data/jetclass-kin").exists()
    assert len(list((project.path / "data/jetclass").glob("skim-*"))) == 1
