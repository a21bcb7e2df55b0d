"""The workflow from other places: as a module of another project, in the catalog's test directory, in an image."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from jetloom.config import parse_experiment
from jetloom.workflow.plan import Plan
from tests.support.project import ROOT, SMALL, Project, clone, jobs

pytestmark = pytest.mark.seconds

MODULE = """\
configfile: "config/config.yaml"


module jetloom:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from jetloom
"""
"""What snakedeploy writes."""
APPTAINER = """\
#!/bin/sh
# In the place of Apptainer: notes how it is called, and runs the command outside.
case "$1" in --version) echo "apptainer version 1.3.4"; exit ;; esac
echo "$@" | tr '\\n' ' ' >> "$JETLOOM_NOTES"
echo >> "$JETLOOM_NOTES"
for argument in "$@"; do
    shift
    case "$argument" in *jetloom.sif) exec "$@" ;; esac
done
exit 1
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Project:
    """A clone elsewhere."""
    return clone(tmp_path_factory.mktemp("elsewhere") / "clone")


def said(project: Project, at: Path, *arguments: str, **environment: str) -> str:
    command = ["snakemake", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=at, env=project.environment | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_another_project_uses_it_as_a_module(other, tmp_path):
    """The same jobs as of the clone itself, planned from the other project's configuration alone."""
    for name in ("config", "workflow"):
        (tmp_path / name).mkdir()
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "workflow/Snakefile").write_text(MODULE.format(snakefile=other.path / "workflow/Snakefile"))
    planned = jobs(said(other, tmp_path, "--dry-run"))
    other.write_config(SMALL)
    assert planned == jobs(said(other, other.path, "--dry-run"))
    assert planned["train_model"] == 3
    about = f"{next(iter(Plan(parse_experiment(SMALL)).about))}/about.json"
    said(other, tmp_path, about)
    assert (tmp_path / about).is_file()
    assert not (other.path / about).exists()


def test_the_catalog_finds_what_it_wants(other):
    """https://snakemake.github.io/snakemake-workflow-catalog: layout and usage."""
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert (ROOT / "workflow/Snakefile").is_file() and (ROOT / "config/README.md").is_file()
    assert (ROOT / "config/config.yaml").read_text() == (ROOT / "config.yaml").read_text()
    (other.path / ".test").mkdir()
    (other.path / ".test/config.yaml").write_text((ROOT / ".test/config.yaml").read_text())
    planned = jobs(said(other, other.path, "--dry-run", "--directory", ".test"))
    assert planned["train_model"] == planned["evaluate"] == planned["report"] == 1


def test_jobs_run_in_the_image(other, tmp_path):
    """With a stand-in for Apptainer: no image could be made."""
    program, notes = tmp_path / "bin/apptainer", tmp_path / "notes"
    program.parent.mkdir()
    program.write_text(APPTAINER)
    program.chmod(0o755)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SMALL))
    entry = (ROOT / "Snakefile").read_text().replace('"workflow', f'"{other.path}/workflow')
    (tmp_path / "Snakefile").write_text(entry)
    environment = {"PATH": f"{program.parent}:{other.environment['PATH']}", "JETLOOM_NOTES": str(notes)}
    about = f"{next(iter(Plan(parse_experiment(SMALL)).about))}/about.json"
    arguments = ["--sdm", "apptainer", "--apptainer-args=--nv --bind /data"]
    (tmp_path / "jetloom.sif").touch()
    said(other, tmp_path, about, *arguments, **environment)
    assert (tmp_path / about).is_file()
    [called] = notes.read_text().splitlines()
    assert " exec " in f" {called} " and "--nv --bind /data" in called and "jetloom.sif" in called
    # Without the flag nothing asks for it.
    os.remove(tmp_path / about)
    said(other, tmp_path, about, **environment)
    assert len(notes.read_text().splitlines()) == 1
