"""What a dry run says: on a fresh clone, after a finished run, and after edits."""

import re
import subprocess
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, SMALL, Project


def test_a_fresh_clone_has_a_plan_and_no_data(fresh):
    jobs = fresh.plan()
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert jobs["simulate_jets"] == 30
    assert jobs["train_model"] == len(config["seeds"]) * (5 + 4)
    assert jobs["measure_cost"] == 5 + 4
    assert jobs["report"] == 1
    assert not (fresh.path / "data").exists()
    plain = subprocess.run(
        ["snakemake", "--cores", "2", "--dry-run"],
        cwd=fresh.path,
        env=fresh.environment,
        capture_output=True,
        text=True,
    )
    assert plain.returncode == 0, plain.stderr
    assert "simulate_jets" in plain.stdout


def test_lint_and_format_are_clean(fresh):
    for command in (["snakemake", "--lint"], ["snakefmt", "-l", "120", "--check", "Snakefile", "workflow"]):
        done = subprocess.run(command, cwd=fresh.path, env=fresh.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_what_it_logs_measures_and_needs():
    rules = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for block in re.split(r"\n(?=rule )", file.read_text())[1:]:
            if "shell:" in block:
                rules[re.match(r"rule (\w+)", block)[1]] = block
    assert len(rules) >= 9
    for name, block in rules.items():
        for directive in ("log:", "benchmark:", "threads:", "resources:", "conda:"):
            assert f"\n    {directive}" in block, f"{name} has no {directive}"


def test_an_experiment_of_its_own_inherits_nothing_from_the_demo(fresh):
    own = {"experiment": "own", "datasets": ["jetclass-sim"], "models": ["salt"], "seeds": [3], "preset": "tiny"}
    (fresh.path / "own.yaml").write_text(yaml.safe_dump(own))
    jobs = fresh.plan("--configfile", "own.yaml")
    assert jobs["train_model"] == 1
    assert "simulate_shapes" not in jobs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainin": {}}, ["trainin", "training"]),
        ({"models": ["sallt"]}, ["sallt", "salt"]),
        ({"seeds": 0}, ["seeds", "list"]),
        ({"per_dataset": {"jetclass-sim": {"classes": ["QCD", "Hxx"]}}}, ["Hxx", "Hbb"]),
        ({"training": {"epochs": "many"}}, ["epochs", "integer"]),
    ],
)
def test_a_mistake_in_the_configuration_stops_before_any_job(fresh, change, words):
    fresh.write_config({**SMALL, "datasets": ["jetclass-sim"], "per_dataset": {}} | change)
    done = fresh.snakemake()
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "config" in line]
    assert any(all(word in line for word in words) for line in lines), done.stderr
    assert "Traceback" not in done.stderr
    assert not (fresh.path / "data").exists()


@contextmanager
def edited(project: Project, file: str, edit):
    """A file of the clone with other content, for a moment."""
    path: Path = project.path / file
    before = path.read_text()
    after = edit(before)
    assert after != before
    path.write_text(after)
    try:
        yield
    finally:
        path.write_text(before)


def with_changes(**changes):
    return lambda _: yaml.safe_dump(SMALL | changes, sort_keys=False)


@pytest.mark.slow
class TestAfterARun:
    """Training is expensive: only what changes a result runs again."""

    def test_nothing_is_left_to_do(self, finished):
        assert finished.plan() == Counter()
        assert finished.plan("figures") == Counter()

    def test_a_docstring_and_a_comment_retrain_nothing(self, finished):
        with edited(
            finished, "src/jetloom/models/salt.py", lambda text: text.replace('"""', '"""Reworded: ', 1) + "\n# x\n"
        ):
            assert finished.plan() == Counter()

    def test_a_caption_reruns_nothing(self, finished):
        with edited(finished, "workflow/report/figure.rst", lambda text: text + "\nMore words.\n"):
            assert finished.plan() == Counter()

    def test_a_plot_redraws_the_report_alone(self, finished):
        with edited(finished, "src/jetloom/report/style.py", lambda text: text + "\n\nEXTRA = 1\n"):
            assert finished.plan() == Counter(report=1)

    def test_a_metric_evaluates_again_and_trains_nothing(self, finished):
        with edited(finished, "src/jetloom/evaluation/metrics.py", lambda text: text + "\n\nEXTRA = 1\n"):
            assert finished.plan() == Counter(evaluate=3, report=1)

    def test_the_width_of_salt_retrains_salt_alone(self, finished):
        changed = with_changes(per_model={"salt": {"options": {"d_model": 24}}})
        with edited(finished, "config.yaml", changed):
            jobs = finished.plan()
            assert jobs == Counter(train_model=2, evaluate=2, measure_cost=2, report=1)
            assert finished.plan("results/small/jetclass-sim/pfn/seed1/metrics.json") == Counter()

    def test_the_code_of_salt_retrains_salt_alone(self, finished):
        with edited(finished, "src/jetloom/models/salt.py", lambda text: text + "\n\nEXTRA = 1\n"):
            assert finished.plan() == Counter(train_model=2, evaluate=2, measure_cost=2, report=1)

    def test_another_seed_trains_only_that_seed(self, finished):
        with edited(finished, "config.yaml", with_changes(seeds=[1, 2])):
            assert finished.plan() == Counter(train_model=3, evaluate=3, report=1)

    def test_the_title_of_the_page_rewrites_the_page(self, finished):
        with edited(finished, "config.yaml", with_changes(report={"title": "Other"})):
            assert finished.plan() == Counter(report=1)

    def test_a_cut_makes_new_skims_and_everything_after_them(self, finished):
        small = SMALL["per_dataset"]
        cut = {**small, "jetclass-sim": {**small["jetclass-sim"], "selection": {"jet_pt": [550, 1000]}}}
        with edited(finished, "config.yaml", with_changes(per_dataset=cut)):
            jobs = finished.plan()
            assert "simulate_jets" not in jobs
            assert jobs["skim"] == 6
            assert jobs["train_model"] == 2
