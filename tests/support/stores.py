"""Fixtures of stores: for a conftest to take."""

import shutil
from pathlib import Path

import pytest

from jetloom.tracking.store import prepare


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, which take seconds to make."""
    directory = tmp_path_factory.mktemp("empty")
    prepare(None, ["exp/other"], directory, directory / "mlflow.json")
    return directory / "mlflow.db"


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Path:
    """The file of a store of its own, with the experiment exp/toy."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    prepare(None, ["exp/toy"], tmp_path, tmp_path / "mlflow.json")
    return tmp_path / "mlflow.json"
