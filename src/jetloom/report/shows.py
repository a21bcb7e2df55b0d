"""What the tasks of a report show of themselves."""

from functools import cache
from importlib import import_module

from jetloom.catalogue import cards
from jetloom.results.collect import collect
from jetloom.results.collection import Collection, Task
from jetloom.results.inputs import Inputs
from jetloom.tasks.shows import Show


@cache
def show_of(name: str) -> Show:
    """The figures, tables and words of a task; of one without any, those that all tasks have."""
    module = cards.task_card(name).shows if name in cards.names("tasks") else None
    return import_module(module).SHOW if module else Show()


def read(given: Inputs) -> Collection:
    """The results, one section for each data set and task; errors as :func:`jetloom.results.collect.collect`."""

    def subject(task: Task) -> str:
        return show_of(task.name).subject(task)

    return collect(given, subject)
