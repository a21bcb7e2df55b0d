"""The order of the test files."""

import pytest

pytest.register_assert_rewrite("tests.support")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: the quick ones then fill up the cores at the end (Makefile: no reordering).

    The two that run a cluster, each of which keeps a machine busy, are first and last of the slow ones.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.match("cluster/test_derived.py")))
