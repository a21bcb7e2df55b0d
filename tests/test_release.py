"""What has to agree when a version is released, and the forms that people meet."""

import re
import tomllib
from pathlib import Path

import yaml

from jetloom import __version__

ROOT = Path(__file__).parents[1]


def test_every_place_has_the_same_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    assert f"jetloom=={__version__}\n" in (ROOT / "envs/jetloom.post-deploy.sh").read_text()
    newest, *_ = re.findall(r"^## (\S+) \((?:unreleased|\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]


def test_hooks_run_what_make_lint_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    [lint] = re.findall(r"^lint:.*\n.*sh -c '(.*)'$", (ROOT / "Makefile").read_text(), re.M)
    checks = {re.sub(r" (\.|Snakefile workflow)$", "", check) for check in lint.split(" && ")}
    # Snakemake's takes the whole workflow, not a file.
    assert {re.sub(r"^.*\.venv/bin/", "", hook["entry"]) for hook in hooks} == checks - {"snakemake --lint"}


def test_the_public_ci_tests_the_ends_of_the_range():
    """Of Python by itself, of torch through .ci/run."""
    [job] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert {"run": ".ci/run"} in job["steps"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [item.rpartition(" :: ")[2] for item in project["classifiers"] if re.search(r":: 3\.\d+$", item)]
    assert job["strategy"]["matrix"]["python"] == [named[0], named[-1]]
    assert project["requires-python"] == f">={named[0]}"
    [torch] = [item for item in project["dependencies"] if item.startswith("torch")]
    [ends] = re.findall(r"^ends=\((.*)\)$", (ROOT / ".ci/run").read_text(), re.M)
    low, high = re.findall(r"\d+\.\d+", torch)
    lowest, highest = (tuple(map(int, version.split(".")))[:2] for version in ends.split())
    assert lowest == tuple(map(int, low.split(".")))
    assert (highest[0], highest[1] + 1) == tuple(map(int, high.split(".")))


def test_the_forms_can_be_read():
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(form.read_text())
        if form.stem != "config":
            assert {"name", "description", "body"} <= set(content)
            assert all(item["type"] in ("textarea", "dropdown", "input", "markdown") for item in content["body"])
