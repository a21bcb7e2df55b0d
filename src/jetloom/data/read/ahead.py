"""Reading ahead: the next items are made while one is worked on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jetloom.batch import Batch

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order, each made by a thread while the one before is worked on."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]


def page_locked(batch: Batch) -> Batch:
    """The batch in memory from which a GPU copies while the host goes on."""
    return batch.map(lambda value: value.pin_memory())
