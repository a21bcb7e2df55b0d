"""From what a configuration says to a task."""

from collections.abc import Sequence

from jetloom.catalogue.cards import load_class, task_card
from jetloom.config import TaskChoice
from jetloom.tasks.combined import Combined, Member
from jetloom.tasks.task import Data, Task


def make(chosen: Sequence[TaskChoice], data: Data) -> Task:
    """The task of a training; several are one whose losses are added.

    Args:
        chosen: as the configuration says it, the main task first.
        data: classes and observers of the data set.

    Raises:
        JetloomError: the data do not hold what a task needs.
    """
    tasks: list[Task] = [load_class(task_card(item.name).class_path)(data, **item.options) for item in chosen]
    if len(tasks) == 1:
        return tasks[0]
    return Combined([Member(item.title, task, item.weight) for item, task in zip(chosen, tasks, strict=True)])
