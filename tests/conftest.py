"""How many tests run at once, and the order of their files."""

import os

import pytest


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: whoever runs the tests of a cluster waits for it most of the time."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: the quick ones then fill up the cores at the end (pyproject: no reordering)."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
