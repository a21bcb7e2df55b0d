"""Blanks and what a shell takes for its own, in every path of a project."""

import pytest

from tests.support.project import SMALL, clone

pytestmark = pytest.mark.slow


def test_a_project_may_lie_anywhere(tmp_path):
    project = clone(tmp_path / "a b;c" / "clone")
    changes = {"datasets": ["shapes-sim"], "models": ["salt"], "data_directory": "my data;x",
               "results_directory": "re $sults", "scratch_directory": "scr'atch",
               "per_dataset": {"shapes-sim": SMALL["per_dataset"]["shapes-sim"]}}  # fmt: skip
    project.write_config(SMALL | changes)
    project.run()
    assert (project.path / "re $sults/small/report/index.html").is_file()
    assert not project.plan()
    assert {path.name for path in project.path.iterdir()} >= {"my data;x", "re $sults"}
    assert not {"x", "my", "re"} & {path.name for path in project.path.iterdir()}
