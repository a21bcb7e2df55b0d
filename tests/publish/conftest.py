"""Trainings with a store, as the tests of tracking have them."""

from tests.tracking.conftest import (  # noqa: F401 (fixtures)
    _one_thread,
    empty_database,
    manifest,
    results,
    run_training,
    store,
)
