"""The lock, the conda environment and pyproject install the same."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = [line for line in (ROOT / "envs/requirements.lock").read_text().splitlines() if line]


def test_the_conda_environment_is_the_lock():
    environment = yaml.safe_load((ROOT / "envs/jetloom.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == LOCK


def test_the_lock_satisfies_every_range():
    locked = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LOCK}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    for text in wanted:
        requirement = Requirement(text)
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text} but {version} is locked"
