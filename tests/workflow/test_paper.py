"""Results for a publication come from a commit."""

import subprocess

import pytest

from jetloom.config import parse_experiment


def _git(project, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=project.path, check=True, capture_output=True)


@pytest.mark.slow
def test_a_paper_starts_from_a_commit_only(fresh):
    paper = ["--config", "paper=true", "--", "mlflow_store"]
    done = fresh.snakemake(*paper)
    assert done.returncode != 0
    assert "this is no git repository" in done.stderr
    (fresh.path / ".gitignore").write_text("/logs/\n/results/\n/.snakemake/\n__pycache__/\n")
    _git(fresh, "init", "-q")
    _git(fresh, "add", ".")
    _git(fresh, "commit", "-q", "-m", "all")
    assert fresh.snakemake(*paper).returncode == 0
    with (fresh.path / "config.yaml").open("a") as file:
        file.write("\n# changed\n")
    done = fresh.snakemake(*paper)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if "uncommitted changes (git status)" in line]
    assert "Traceback" not in done.stderr
    assert fresh.snakemake("--dry-run", *paper).returncode == 0, "looking is allowed"
    assert fresh.snakemake("--", "mlflow_store").returncode == 0, "trials are not papers"


def test_a_trial_form_of_a_paper_is_no_paper():
    values = {
        "experiment": "e", "datasets": ["jetclass-sim"], "models": ["salt"], "seeds": [1], "paper": True,
        "scales": {"tiny": {"preset": "tiny"}},
    }  # fmt: skip
    assert parse_experiment(values).paper
    assert not parse_experiment(values | {"scale": "tiny"}).paper
