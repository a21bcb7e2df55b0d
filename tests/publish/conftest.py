"""Trainings with a store, as the tests of tracking have them."""

from tests.support.stores import empty_database, store  # noqa: F401 (fixtures)
from tests.support.trainings import _one_thread, manifest, results, run_training  # noqa: F401 (fixtures)
