"""``jetloom new``: a directory of one's own for each experiment, whole or not at all."""

import re

import pytest
import yaml

from jetloom.config import parse_experiment
from jetloom.errors import JetloomError
from jetloom.models import build
from jetloom.workflow.project import experiments, start
from tests.support.project import ROOT


@pytest.mark.parametrize("like", ["demo", "jetclass", "salt_hls4ml", "omnijet"])
def test_a_project_is_like_an_experiment(like, tmp_path):
    start(tmp_path / "my-study", like)
    made = sorted(path.name for path in (tmp_path / "my-study").iterdir())
    assert made == [".gitignore", "Snakefile", "config.schema.json", "config.yaml", "profiles", "slurm"]
    assert (tmp_path / "my-study/slurm/config.yaml").read_text() == (ROOT / "profiles/slurm/config.yaml").read_text()
    text = (tmp_path / "my-study/config.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=config.schema.json\n")
    like_it = yaml.safe_load(experiments()[like].read_text())
    assert yaml.safe_load(text) == like_it | {"experiment": "my-study"}
    assert parse_experiment(yaml.safe_load(text)).runs == parse_experiment(like_it).runs


@pytest.mark.parametrize(
    ("name", "like", "words"),
    [
        ("study", "jetclas", "--like: unknown name 'jetclas' (did you mean 'jetclass'?); allowed: demo, "),
        ("my study", "demo", "my study: expected a name of letters, digits, - and _, got 'my study'"),
        ("full", "demo", "full: there is something already; expected a new or an empty directory"),
        ("file", "demo", "file: there is something already"),
    ],
)
def test_a_mistake_makes_nothing(name, like, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(JetloomError) as error:
        start(type(tmp_path)(name), like)
    assert words in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "study").mkdir()
    start(tmp_path / "study", "demo")
    assert (tmp_path / "study/Snakefile").is_file()


def test_the_configurations_of_the_tutorial_are_valid():
    first, change = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.S)
    assert len(parse_experiment(yaml.safe_load(first)).runs) == 4
    changed = parse_experiment(yaml.safe_load(first) | yaml.safe_load(change))
    assert [run.model for run in changed.runs] == ["pfn", "pfn", "salt", "salt", "salt_wide", "salt_wide"]
    wide = changed.model("jetclass-sim", "salt_wide")
    sizes = [
        sum(
            weight.numel()
            for weight in build("salt", n_features=17, n_classes=10, preset="tiny", **options).parameters()
        )
        for options in ({}, wide.options)
    ]
    assert sizes[1] > sizes[0]
