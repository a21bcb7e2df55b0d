"""A cluster, and a copy of the project that uses it as its site."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.cluster_project import ClusterProject, settle
from tests.support.project import clone
from tests.support.slurm import Cluster, missing_programs


@pytest.fixture(scope="session")
def cluster():
    """A running SLURM."""
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: install Debian's packages slurm-wlm and munge")
    # A short path: that of munge's socket has room for 108 bytes.
    directory = Path(tempfile.mkdtemp(prefix="js"))
    running = Cluster(directory)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def site(cluster, tmp_path_factory) -> ClusterProject:
    """A clone with the cluster's values in its profile."""
    path = clone(tmp_path_factory.mktemp("cluster") / "clone").path
    (path / "slurm").symlink_to("profiles/slurm")
    settle(path)
    return ClusterProject(path, cluster)
