"""Small trainings in a fraction of a second."""

from tests.support.trainings import _one_thread, manifest, results, run_training  # noqa: F401 (fixtures)
