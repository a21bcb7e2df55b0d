"""Codes, generated jets and what starts from a generator, by configuration alone: from simulated jets to the page."""

import csv
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.kills import DIES
from tests.support.project import Project, clone, edited, more_code
from tests.support.warm_project import WarmProject

EXPERIMENT = ("--configfile", "workflow/experiments/omnijet.yaml", "--config", "scale=tiny")
HOME = "results/omnijet-tiny"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    made = WarmProject(clone(tmp_path_factory.mktemp("omnijet") / "clone").path)
    made.run(*EXPERIMENT)
    yield made
    made.close()


def read(project, path):
    return json.loads((project.path / HOME / path).read_text())


def skims_of(project, verb, made_of):
    """The directory of the skims that a model, or a mixture, has made."""
    found = []
    for path in (project.path / HOME / "derived").glob("*/about.json"):
        value = json.loads(path.read_text())["settings"].get(verb)
        if made_of in (value, value.get("model") if isinstance(value, dict) else None):
            found.append(path.parent)
    [skims] = found
    return skims


@pytest.mark.slow
def test_codes_and_decoded_jets_are_of_the_same_jets(project):
    """One set of skims for both; each jet of the source once."""
    skims = skims_of(project, "tokenise", "kmeans")
    rows = {split: pq.read_table(skims / f"{split}_000.parquet").num_rows for split in ("train", "val", "test")}
    assert rows == {"train": 80, "val": 32, "test": 48}
    manifests = [
        json.loads(path.read_text()) for path in (project.path / HOME / "derived").glob("tensors-*/manifest.json")
    ]
    of = {(manifest["derived"], manifest["kind"]): manifest for manifest in manifests}
    assert of.keys() == {("tokenised", "tokens"), ("decoded", "jets"), ("generated", "jets"), ("compared", "jets")}
    assert of["tokenised", "tokens"]["codes"] == 32
    mixtures = [manifest["splits"]["test"]["per_class"] for manifest in manifests if manifest["derived"] == "compared"]
    assert sorted(mixtures, key=str) == [
        {"decoded": 30, "decoded_vqvae": 30, "generated": 30},
        {"decoded": 30, "generated": 30},
        {"decoded_1": 24, "decoded_2": 24},
    ]


@pytest.mark.slow
def test_a_tagger_of_a_mixture_says_which_part_true_jets_are_like(project):
    asked = read(project, "closest/particlenet/seed1/metrics.json")["posteriors"]
    # Of the true test jets, which are in no part.
    assert asked["jets"] == 48 and list(asked["values"]) == ["decoded", "decoded_vqvae", "generated"]
    # p sums to one over the parts, so that not all can be below ln 3.
    assert max(item["value"] for item in asked["values"].values()) >= math.log(3)
    assert all(item["low"] < item["value"] < item["high"] for item in asked["values"].values())
    page = (project.path / HOME / "report/index.html").read_text()
    assert "Which part comes closest to the truth" in page
    assert "posteriors" not in read(project, "closure/particlenet/seed1/metrics.json")


@pytest.mark.slow
def test_generated_jets_are_compared_with_decoded_ones(project):
    content = read(project, "generated/closeness.json")
    assert (content["set"], content["reference"], content["derived"]) == ("generated", "decoded", "generated")
    assert content["run"] == {"dataset": "tokens", "model": "generator", "seed": 1}
    assert content["jets"] <= 30 and content["reference_jets"] == 48
    assert set(content["observables"]) == {"mass", "pt", "multiplicity", "tau21", "tau32", "d2"}
    # What is decoded has as many particles as what was coded, but for those that were dropped.
    decoded = read(project, "decoded/closeness.json")
    assert decoded["reference"] == "jets"
    assert decoded["observables"]["multiplicity"]["w1"] < 0.5 < decoded["observables"]["mass"]["w1"]


@pytest.mark.slow
def test_figures_of_merit(project):
    tokenizer = read(project, "jets/kmeans/seed1/metrics.json")
    skims = skims_of(project, "tokenise", "kmeans")
    particles = sum(map(len, pq.read_table(skims / "test_000.parquet")["part_code"].to_pylist()))
    assert sum(tokenizer["codes"]) == particles
    assert 0 < tokenizer["values"]["used"]["value"] <= 1 < tokenizer["values"]["perplexity"]["value"] <= 32
    generator = read(project, "tokens/generator/seed1/metrics.json")["values"]
    assert generator["uniform"]["value"] == pytest.approx(np.log(33))
    assert generator["nats_gained"]["value"] == pytest.approx(generator["bigram"]["value"] - generator["nats"]["value"])
    started = (project.path / HOME / "logs/train_model/tokens/fine_tuned_seed1.log").read_text()
    assert re.search(r"Started from .*generator/seed1/best.ckpt; new: head.embed.weight", started)
    assert read(project, "closure/particlenet/seed1/metrics.json")["classes"] == ["decoded", "generated"]


@pytest.mark.slow
def test_the_page_never_calls_a_generated_jet_a_jet(project):
    home = project.path / HOME / "report"
    page = (home / "index.html").read_text()
    for words in (
        *("What is lost of a jet", "Use of the codebook", "Generated jets beside what they should be like", "Bigram"),
        *("generated set", "tokenised jets", "decoded jets", "told apart"),
    ):
        assert words.lower() in page.lower(), words
    [points] = home.rglob("figures/tokens-next_token/generated.csv")
    rows = list(csv.DictReader(points.open()))
    assert {row["set"] for row in rows} == {"reference", "generated"}
    for name in ("mass", "tau21"):
        for side in ("reference", "generated"):
            shares = [float(row["share"]) for row in rows if row["observable"] == name and row["set"] == side]
            assert sum(shares) == pytest.approx(1, abs=1e-4)
    [table] = home.rglob("tables/tokens-next_token-generated.csv")
    [mass] = [row for row in csv.DictReader(table.open()) if row["observable"] == "mass" and row["set"] == "generated"]
    assert float(mass["w1"]) == pytest.approx(
        read(project, "generated/closeness.json")["observables"]["mass"]["w1"], rel=1e-4
    )
    record = read(project, "provenance.json")
    assert "activity:closeness/generated" in record["activity"]


@pytest.mark.slow
def test_a_second_call_does_nothing_and_what_follows_from_the_tokenizer_follows_it(project):
    assert project.plan(*EXPERIMENT) == {}

    def fewer_codes(text: str) -> str:
        values = yaml.safe_load(text)
        values["scales"]["tiny"]["per_model"]["kmeans"]["options"]["codes"] = 24
        return yaml.safe_dump(values, sort_keys=False)

    with edited(project.path / "workflow/experiments/omnijet.yaml", fewer_codes):
        jobs = project.plan(*EXPERIMENT)
    # The tokenizer, the generator, eight classifiers of codes, and ParticleNet on decoded jets and on the mixtures; not
    # the other tokenizer, and not ParticleNet on the jets themselves.
    trained = 1 + 1 + 8 + 4
    assert (jobs["tokenise"], jobs["generate"], jobs["mix"], jobs["train_model"]) == (3, 3, 6 + 6 + 9, trained)
    assert "skim" not in jobs and "simulate_jets" not in jobs


@pytest.mark.slow
def test_an_edited_generator_leaves_the_tokenizer_alone(project):
    with edited(project.path / "src/jetloom/tasks/next_token/learn.py", more_code):
        jobs = project.plan(*EXPERIMENT)
    assert "tokenise" not in jobs
    # The generator, what starts from it (8 labels and all, fine-tuned and frozen; of two classes), two mixtures.
    assert (jobs["train_model"], jobs["generate"]) == (1 + 5 + 2, 3)


STAGES = {
    "tokenise": ("decoded", "tokenise", "kmeans"),
    "generate": ("generated", "generate", "generator"),
    "mix": ("closure", "compare", ["decoded", "generated"]),
    "closeness": ("generated", None, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_leaves_nothing_and_the_next_try_makes_the_same_bytes(project, stage, tmp_path):
    name, made_by, made_of = STAGES[stage]
    home = project.path / HOME
    expected = skims_of(project, made_by, made_of) / "test_000.parquet" if made_by else home / name / "closeness.json"
    output = tmp_path / expected.name
    if stage == "closeness":
        verb = ["closeness", name, f"--output={output}", f"--observables={tmp_path / 'observables.parquet'}"]
    else:
        verb = ["derive", name, "--split=test", "--threads=1", f"--output={output}"]
    verb.append(f"--config={HOME}/config.yaml")
    dead = run([sys.executable, "-c", DIES, "1", *verb], project)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert not output.exists()
    again = run([sys.executable, "-m", "jetloom.cli", *verb], project)
    assert again.returncode == 0, again.stderr
    assert output.read_bytes() == expected.read_bytes()
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def run(command: list[str], project: Project) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=project.path, env=project.environment, capture_output=True, text=True)
