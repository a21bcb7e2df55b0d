"""The small experiment, run once from nothing to the report."""

import pytest

from tests.support.project import SMALL, Project, clone


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The small experiment, run to its report."""
    pytest.importorskip("pythia8mc", reason="the simulation needs the extra [simulate]")
    project = clone(tmp_path_factory.mktemp("workflow") / "clone")
    project.write_config(SMALL)
    project.run()
    return project


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A clone in which nothing has run."""
    return clone(tmp_path / "clone")
