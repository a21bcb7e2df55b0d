"""One process with the pretended GPU for all tests."""

from typing import Any

import pytest

from tests.support.look import seen


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What :mod:`tests.gpu.look` has seen."""
    return seen("tests.gpu.look", tmp_path_factory.mktemp("pretended_gpu"), OMP_NUM_THREADS="1")
