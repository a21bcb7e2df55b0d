"""A group's server, stores of their own, and trainings to fill them."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Group, home_of_postgres
from tests.support.stores import empty_database, store  # noqa: F401 (fixtures)
from tests.support.trainings import _one_thread, manifest, results, run_training  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def group() -> Iterator[Group]:
    """One server for all tests."""
    with home_of_postgres() as directory:
        server = Group(directory)
        try:
            server.start()
            yield server
        finally:
            server.stop()
