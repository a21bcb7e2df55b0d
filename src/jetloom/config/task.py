"""``task``: what a network is trained to do."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from jetloom.catalogue.cards import names, task_card
from jetloom.catalogue.signatures import signature
from jetloom.config.effects import remakes
from jetloom.config.mistakes import known, unknown
from jetloom.config.section import Strict
from jetloom.config.training import Training
from jetloom.errors import JetloomError

DEFAULT = "classification"


class TaskChoice(Strict, json_schema_extra=remakes("training")):
    """A task with its options; of several the first is the main one."""

    name: str = Field(description="`jetloom tasks`")
    options: dict[str, Any] = Field(default_factory=dict, description="of the task")
    weight: float = Field(1.0, gt=0, description="of its loss in the sum, where there are several")

    @property
    def title(self) -> str:
        """What tells it from other tasks of the same training: its name, or what it aims at."""
        aims = [str(value) for key, value in self.options.items() if key in ("target", "relative_to") and value]
        return "_over_".join(aims) or self.name

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "TaskChoice":
        """From what :meth:`record` gave."""
        return cls(name=record["name"], options=record["settings"], weight=record["weight"])

    def record(self) -> dict[str, Any]:
        """As results hold it."""
        return {"name": self.name, "settings": self.options, "weight": self.weight}


def resolve_tasks(value: Any, where: str) -> list[TaskChoice]:
    """Tasks from what a configuration says.

    Args:
        value: a name, ``{name: options}``, or a list of such; None: classification. ``weight`` among the options is
            that of the loss.
        where: key of the configuration.

    Raises:
        JetloomError: an unknown task or option, a value of another type, the same task twice.
    """
    items = (
        value if isinstance(value, Sequence) and not isinstance(value, str) else [DEFAULT if value is None else value]
    )
    pairs = [pair for item in items for pair in (item.items() if isinstance(item, Mapping) else [(item, {})])]
    chosen = [_choice(name, options or {}, where) for name, options in pairs]
    titles = [item.title for item in chosen]
    if not chosen or len(set(titles)) < len(titles):
        raise JetloomError(f"{where}: expected different tasks, at least one, got {', '.join(titles) or 'none'}")
    if len(chosen) > 1 and (alone := [item.name for item in chosen if task_card(item.name).pretrains]):
        raise JetloomError(f"{where}: {alone[0]} trains alone; let the other training start from it (`starts_from`)")
    if chosen[0].weight != 1:
        raise JetloomError(f"{where}.{chosen[0].name}.weight: the first task has the weight 1; weigh the others")
    return chosen


class Monitor(NamedTuple):
    """A validation figure, and which way it is better."""

    name: str
    higher: bool

    def score(self, value: float) -> float:
        """The larger, the better."""
        return value if self.higher else -value


def monitor_of(training: Training, tasks: Sequence[TaskChoice]) -> Monitor:
    """What chooses the best epoch of a training.

    Raises:
        JetloomError: the main task has no such figure.
    """
    known_ones = task_card(tasks[0].name).monitors
    name = training.monitor or next(iter(known_ones))
    known("training.monitor", name, known_ones)
    return Monitor(name, known_ones[name] == "higher")


def _choice(name: Any, options: Any, where: str) -> TaskChoice:
    known(where, str(name), names("tasks"))
    if not isinstance(options, Mapping):
        raise JetloomError(f"{where}.{name}: expected options, got {options!r}")
    arguments = signature(task_card(str(name)).class_path)
    checked: dict[str, Any] = {}
    for key, given in options.items():
        if key == "weight":
            continue
        if key not in arguments:
            raise JetloomError(unknown(f"{where}.{name}", key, [*arguments, "weight"], "unknown option"))
        try:
            checked[key] = TypeAdapter(arguments[key].annotation).validate_python(given)
        except ValidationError:
            raise JetloomError(f"{where}.{name}.{key}: expected {arguments[key].spelling}, got {given!r}") from None
    if missing := [key for key, argument in arguments.items() if argument.default is ... and key not in checked]:
        raise JetloomError(f"{where}.{name}.{missing[0]}: missing; it is required")
    weight = options.get("weight", 1.0)
    try:
        return TaskChoice(name=str(name), options=checked, weight=weight)
    except ValidationError:
        raise JetloomError(f"{where}.{name}.weight: expected a positive number, got {weight!r}") from None
