"""A small prepared data set."""

from pathlib import Path

import pytest

from tests.support.evaluated import write_tensors


@pytest.fixture(scope="session")
def manifest(tmp_path_factory) -> Path:
    """Manifest of the small data set."""
    return write_tensors(tmp_path_factory.mktemp("tensors"))
