"""The order of the test files, and what their processes do without."""

import gc
import os
from pathlib import Path

import pytest

from jetloom.system.allocator import keep_freed

# A process for each core (Makefile): with two threads each they wait for each other, four times as long as they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# For each Python that is started, those of the tests themselves too.
started = str(Path(__file__).parent / "support/started")
os.environ["PYTHONPATH"] = ":".join(
    dict.fromkeys([started, *filter(None, os.environ.get("PYTHONPATH", "").split(":"))])
)

# As in a training: a test that makes large tensors again and again does not wait for the system's pages.
keep_freed()

# Until all is imported: see jetloom.system.importing. What the tests themselves leave is looked for.
gc.disable()

pytest.register_assert_rewrite("tests.support")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: the quick ones then fill up the cores at the end (Makefile: no reordering).

    The two that run a cluster, each of which keeps a machine busy, are first and last of the slow ones.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.match("cluster/test_derived.py")))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
