"""Codes, generated jets and what follows through ``--profile slurm``, each new stage killed once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.cluster_project import ClusterProject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STAGES = ("tokenised-", "generated-", "compared-", "closeness")
CODES = {"tokenise": {"dataset": "jets", "model": "kmeans", "seed": 1}}
DRAW = {
    "generate": {"dataset": "tokens", "model": "generator", "seed": 1, "jets": {"train": 40, "val": 20, "test": 30}}
}
SMALL = {"width": 16, "blocks": 1, "heads": 2}
START = {"dataset": "tokens", "model": "generator", "seed": 1}
FILES = {split: [f"{{ZJetsToNuNu,HToBB}}_00{i}.root"] for i, split in enumerate(("train", "val", "test"))}
EXPERIMENT = {
    "experiment": "chain",
    "datasets": ["jets", "tokens", "decoded", "generated", "closure"],
    "models": [],
    "seeds": [1],
    "preset": "tiny",
    "training": {"epochs": 1, "batch_size": 16},
    "per_dataset": {
        "jets": {
            "based_on": "jetclass-sim",
            "feature_set": "kin",
            "models": ["kmeans"],
            "classes": ["QCD", "Hbb"],
            "splits": FILES,
            "simulation": {"jets": {"train": 40, "val": 16, "test": 24}, "mpi": False},
        },
        "tokens": {"made_by": CODES, "kind": "tokens", "models": ["generator", "tuned"]},
        "decoded": {"made_by": CODES, "models": []},
        "generated": {"made_by": DRAW, "models": []},
        "closure": {"made_by": {"compare": ["decoded", "generated"]}, "models": ["pfn"]},
    },
    "per_model": {
        "kmeans": {"options": {"codes": 16}},
        "generator": {
            "based_on": "omnijet",
            "task": "next_token",
            "options": SMALL,
            "training": {"epochs": 40, "learning_rate": 0.01},
        },
        "tuned": {"based_on": "omnijet", "options": SMALL, "starts_from": START},
    },
    "evaluation": {"bootstrap": 10},
    "cost": {"batch_sizes": [1], "particles": [16], "seconds": 0.02},
    "tracking": {"offline": True, "onnx": False},
}

# The first job of a stage is killed while it works; SLURM sees a job that failed, and the profile gives it again.
KILLS = """#!/bin/bash
for stage in {stages}; do
    case "$*" in derive*"$stage"*|"$stage "*)
        if mkdir "{place}/$stage" 2> /dev/null; then
            {python} -m jetloom.cli "$@" & sleep 1; kill -9 $!; wait $!; exit 137
        fi;;
    esac
done
exec {python} -m jetloom.cli "$@"
"""


@pytest.fixture(scope="module")
def ended(site: ClusterProject, tmp_path_factory) -> tuple[ClusterProject, Path, subprocess.CompletedProcess[str]]:
    place = tmp_path_factory.mktemp("killed")
    program = site.cluster.directory / "bin" / "jetloom"
    program.write_text(KILLS.format(stages=" ".join(STAGES), place=place, python=sys.executable))
    program.chmod(0o755)
    (site.path / "chain.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    try:
        return site, place, site.snakemake("--configfile", "chain.yaml")
    finally:
        program.unlink()


def test_each_stage_was_killed_and_the_chain_ended(ended):
    site, place, done = ended
    assert done.returncode == 0, done.stderr[-5000:]
    assert sorted(path.name for path in place.iterdir()) == sorted(STAGES)
    home = site.path / "results/chain"
    assert (home / "report/index.html").is_file()
    closeness = json.loads((home / "generated/closeness.json").read_text())
    assert closeness["reference"] == "decoded" and closeness["jets"] > 0


def test_the_report_lists_the_stages(ended):
    site, _, _ = ended
    rows = (site.path / "results/chain/report/tables/efficiency.csv").read_text().splitlines()
    known = {row.split(",")[0] for row in rows[1:]}
    assert {"tokenise", "generate", "mix", "closeness", "train_model"} <= known
