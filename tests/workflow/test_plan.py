"""What a dry run says on a fresh clone, and that the workflow is well formed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jetloom.config import parse_experiment
from tests.support.project import ROOT, SMALL

pytestmark = pytest.mark.seconds


def test_a_fresh_clone_has_a_plan_and_no_data(fresh):
    jobs = fresh.plan()
    runs = parse_experiment(yaml.safe_load((ROOT / "config.yaml").read_text())).runs
    assert jobs["simulate_jets"] == 30
    assert jobs["train_model"] == len(runs)
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
    said = re.findall(
        r"rule train_model:.*?dataset=(\S+), model=(\S+), seed=(\d+).*?priority: ([\d.]+)", plain.stdout, re.S
    )
    turns = {(dataset, model, int(seed)): float(priority) for dataset, model, seed, priority in said}
    assert sorted(turns, key=turns.__getitem__, reverse=True) == [tuple(run) for run in runs], "as they are listed"
    assert min(turns.values()) > 5 and max(turns.values()) < 10, "after simulations, before evaluations"


def test_lint_and_format_are_clean(fresh):
    for command in (["snakemake", "--lint"], ["snakefmt", "-l", "120", "--check", "Snakefile", "workflow"]):
        done = subprocess.run(command, cwd=fresh.path, env=fresh.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_what_it_logs_measures_and_needs():
    rules = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for block in re.split(r"\n(?= *rule\b)", file.read_text())[1:]:
            if "shell:" in block:
                rules[re.match(r" *rule ?(\w*)", block)[1] or "download"] = block
    assert len(rules) >= 9
    assert "download" in rules
    for name, block in rules.items():
        for directive in ("log:", "benchmark:", "threads:", "resources:", "conda:"):
            assert re.search(rf"\n +{directive}", block), f"{name} has no {directive}"


def test_an_experiment_of_its_own_inherits_nothing_from_the_demo(fresh):
    own = {"experiment": "own", "datasets": ["jetclass-sim"], "models": ["salt"], "seeds": [3], "preset": "tiny"}
    (fresh.path / "own.yaml").write_text(yaml.safe_dump(own))
    jobs = fresh.plan("--configfile", "own.yaml")
    assert jobs["train_model"] == 1
    assert "simulate_shapes" not in jobs


def test_data_of_an_earlier_layout_are_named_once(fresh):
    old = fresh.path / "data/jetclass-sim/tensors/manifest.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    done = fresh.snakemake("--dry-run")
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "earlier layout" in line]
    assert line.startswith("data/jetclass-sim: ") and "`jetloom data prune`" in line


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


def test_the_profile_for_htcondor_has_a_plan(fresh):
    """Its plugin understands every key; no pool has ever run it."""
    plugin = Path(sys.prefix) / "htcondor"
    if not plugin.is_dir():
        pytest.skip("no plugin for HTCondor: .ci/run says how to install it beside the environment")
    done = subprocess.run(
        ["snakemake", "--profile", "profiles/htcondor", "--dry-run"],
        cwd=fresh.path,
        env=fresh.environment | {"PYTHONPATH": f"{fresh.path}/src:{plugin}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    train = re.search(r"rule train_model:\n.*?resources: (.*?)\n", done.stdout, re.S)[1]
    for word in ("request_gpus=1", "htcondor_request_mem_mb=16000", "classad_JobFlavour=nextweek"):
        assert word in train
    assert re.search(r"^skim +60$", done.stdout, re.M)


def test_gpus_of_this_machine_are_counted(fresh):
    """No GPU is needed to see what jobs ask for."""
    fresh.write_config({**SMALL, "training": {"devices": 2}})
    said = []
    for gpus in ("0,1,2", ""):
        done = subprocess.run(
            ["snakemake", "--profile", "profiles/local", "--dry-run", "--cores", "8"],
            cwd=fresh.path,
            env=fresh.environment | {"CUDA_VISIBLE_DEVICES": gpus},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert re.search(r"rule train_model:\n.*?resources: .*?gpu=2", said[0], re.S)
    assert re.search(r"rule evaluate:\n.*?resources: .*?gpu=1", said[0], re.S)


@pytest.mark.parametrize(("asked", "limited"), [([], False), (["--max-jobs-per-timespan", "3/1s"], True)])
def test_jobs_per_second_are_limited_where_somebody_asks(tmp_path, asked, limited):
    """Snakemake's own limit costs more with every job that has ended."""
    (tmp_path / "Snakefile").write_text(
        f'''
include: "{ROOT}/workflow/rules/where.smk"
onsuccess:
    print(workflow.scheduler.job_rate_limiter)
rule all:
    output: "done"
    shell: "touch {{output}}"
'''
    )
    done = subprocess.run(["snakemake", "--cores", "1", *asked], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("JobRateLimiter" in done.stdout) == limited
    assert limited or "None" in done.stdout.split()
