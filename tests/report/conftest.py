"""A report made once from fabricated results."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jetloom.drawing.cells import Records
from jetloom.report.build import report
from jetloom.results.inputs import Inputs

from .fabricate import fabricate

MODELS = {"jetclass-sim": ["part", "linformer", "salt"], "shapes-sim": ["pointnet", "salt", "linformer"]}
SEEDS = [1, 2]


@dataclass
class Made:
    """A report and what it was made from."""

    results: Inputs
    config: Path
    output: Path
    tables: Mapping[str, Records]
    """What the numbers of each table were made from."""

    @property
    def page(self) -> str:
        return (self.output / "index.html").read_text()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    """Two data sets, three models each, two seeds."""
    home = tmp_path_factory.mktemp("report")
    results = fabricate(home / "results", MODELS, SEEDS, jets=600)
    config = home / "config.yaml"
    config.write_text("experiment: demo  # <b>not markup</b>\n")
    results = replace(results, title="Taggers & friends", config=config)
    tables = report(results, home / "report")
    return Made(results, config, home / "report", tables)
