"""A report made once from fabricated results."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from jetloom.report.build import report

from .fabricate import Results, fabricate

MODELS = {"jetclass-sim": ["part", "linformer", "salt"], "shapes-sim": ["pointnet", "salt", "linformer"]}
SEEDS = [1, 2]


@dataclass
class Made:
    """A report and what it was made from."""

    results: Results
    config: Path
    output: Path

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
    report(**vars(results), output=home / "report", title="Taggers & friends", config=config)
    return Made(results, config, home / "report")
