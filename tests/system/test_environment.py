"""Which commit a result is said to come from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
ASK = "import json, jetloom.system.environment as e; print(json.dumps(e.git()))"
DEMAND = "import jetloom.system.environment as e; e.require_commit()"


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def committed(directory: Path) -> str:
    """Make a repository of a directory; its commit."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(f"name: {directory.name}")
    git(directory, "init", "-q")
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "all")
    return git(directory, "rev-parse", "HEAD")


def source(directory: Path) -> Path:
    """The two modules that say where they come from, as a package of their own."""
    package = directory / "jetloom"
    (package / "system").mkdir(parents=True)
    for name in ("system/environment.py", "errors.py"):
        shutil.copy(ROOT / "src/jetloom" / name, package / name)
    for name in ("__init__.py", "system/__init__.py"):
        (package / name).touch()
    return directory


def ask(code: str, at: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], cwd=at, env=environment, capture_output=True, text=True)


def said(at: Path, path: Path) -> dict:
    import json

    return json.loads(ask(ASK, at, path).stdout)


def test_a_clone_that_is_the_project_has_one_commit(tmp_path):
    source(tmp_path / "clone/src")
    commit = committed(tmp_path / "clone")
    (tmp_path / "clone/results").mkdir()
    for place in ("", "results"):
        assert said(tmp_path / "clone" / place, tmp_path / "clone/src") == {"commit": commit, "dirty": False}


def test_the_project_is_noted_beside_jetloom(tmp_path):
    source(tmp_path / "clone/src")
    commit, other = committed(tmp_path / "clone"), committed(tmp_path / "project")
    (tmp_path / "project/config.yaml").write_text("name: changed")
    expected = {"commit": commit, "dirty": False, "project": {"commit": other, "dirty": True}}
    assert said(tmp_path / "project", tmp_path / "clone/src") == expected
    (tmp_path / "elsewhere").mkdir()
    assert said(tmp_path / "elsewhere", tmp_path / "clone/src") == {"commit": commit, "dirty": False}
    (tmp_path / "clone/src/jetloom/errors.py").write_text("JetloomError = ValueError")
    assert said(tmp_path / "elsewhere", tmp_path / "clone/src") == {"commit": commit, "dirty": True}


def test_an_environment_inside_a_project_does_not_get_its_commit(tmp_path):
    commit = committed(tmp_path / "project")
    installed = source(tmp_path / "project/.venv/lib")
    project = {"commit": commit, "dirty": False}
    assert said(tmp_path / "project", installed) == {"commit": None, "dirty": None, "project": project}


@pytest.mark.parametrize("changed", ["clone", "project"])
def test_a_paper_wants_both_committed(tmp_path, changed):
    source(tmp_path / "clone/src")
    committed(tmp_path / "clone")
    committed(tmp_path / "project")
    assert ask(DEMAND, tmp_path / "project", tmp_path / "clone/src").returncode == 0
    (tmp_path / changed / "config.yaml").write_text("name: changed")
    wrong = ask(DEMAND, tmp_path / "project", tmp_path / "clone/src").stderr.splitlines()[-1]
    assert f"{tmp_path / changed}: paper: true wants" in wrong
    assert "uncommitted changes (git status)" in wrong


def test_a_paper_wants_a_repository_also_of_an_installed_jetloom(tmp_path):
    installed = source(tmp_path / "lib")
    committed(tmp_path / "project")
    assert ask(DEMAND, tmp_path / "project", installed).returncode == 0
    (tmp_path / "elsewhere").mkdir()
    assert "this is no git repository" in ask(DEMAND, tmp_path / "elsewhere", installed).stderr
