"""The lock, the conda environment, the images and pyproject install the same."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
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


def test_the_lock_installs_on_the_lowest_python():
    """A release for a later patch than 3.11.0 would leave out Debian 12, whose Python is 3.11.2."""
    installed = {canonicalize_name(item.metadata["Name"]): item for item in distributions()}
    for line in LOCK:
        found = installed.get(canonicalize_name(line.partition("==")[0]))
        assert found is not None, f"{line} is not installed"
        needs = SpecifierSet(found.metadata.get("Requires-Python") or "")
        assert needs.contains("3.11.0"), f"{line}: {needs}"


def test_make_installs_the_lock_with_uv_where_it_is_there(tmp_path):
    """And with pip otherwise; both know what must not be built from source."""
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    command = [shutil.which("make"), "--dry-run", "--always-make", "install"]
    for path, program in ((tmp_path, "uv pip install"), (tmp_path / "nothing", ".venv/bin/pip install")):
        environment = os.environ | {"PATH": str(path)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        packages, ours = [line for line in done.stdout.splitlines() if line.startswith(program)]
        assert packages.endswith("--only-binary pythia8mc --only-binary fastjet -r envs/requirements.lock")
        assert ours.endswith("--no-deps --no-build-isolation --editable .")


def test_both_images_install_the_lock_and_the_same_files():
    container, apptainer = ((ROOT / f"envs/{name}").read_text() for name in ("Containerfile", "jetloom.def"))
    bases = re.findall(r"^F(?:ROM|rom:) (\S+)$", container + apptainer, re.M)
    assert len(bases) == 2 and len(set(bases)) == 1
    commands = [re.findall(r"^(?:RUN|   ) ((?:pip|apt-get) .*)$", text, re.M) for text in (container, apptainer)]
    assert commands[0] == commands[1] and len(commands[0]) == 3
    assert "-r /opt/jetloom/envs/requirements.lock" in commands[0][1]
    copied = re.findall(r"^COPY (.*) (\S+)$", container, re.M)
    sources = {name for names, _ in copied for name in names.split()} - {"envs/requirements.lock"}
    assert sources == set(re.findall(r"^    (\S+) /opt/jetloom/\1$", apptainer, re.M))
    assert all((ROOT / name).exists() for name in sources)
    allowed = (ROOT / "envs/Containerfile.dockerignore").read_text().split()
    assert {line.removeprefix("!") for line in allowed if line.startswith("!")} == sources
