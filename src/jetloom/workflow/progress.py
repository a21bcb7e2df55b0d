"""How far a workflow is: jobs of each stage, what is at work, and when it will end."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

STAGES = {
    "simulate": ("simulate_jets", "simulate_shapes"),
    "download": ("download_", "unpack_"),
    "skim": ("skim", "list_skims", "describe_data"),
    "derive": ("tokenise", "generate", "mix", "closeness"),
    "tensors": ("tensors_", "derived_shard"),
    "train": ("train_model", "mlflow_store"),
    "evaluate": ("evaluate",),
    "cost": ("measure_cost",),
    "report": ("report", "track_results", "freeze_config"),
}
"""Stages in their order, with how the names of their rules begin."""
TARGETS = ("all", "data", "train", "figures", "cost")
"""Rules that do nothing themselves."""
PLACES = ("home", "place", "key", "family")
"""Wildcards that say where a file is and not what it is."""


@dataclass
class Work:
    """A job that is at work, or waits in a cluster's queue.

    Attributes:
        rule: its name.
        what: which of them: the values of its wildcards.
        log: its file, if it has one.
        since: when it started, by the clock of the progress.
    """

    rule: str
    what: str
    log: str | None
    since: float


@dataclass(frozen=True)
class Line:
    """A stage as it is now.

    Attributes:
        name: of the stage.
        done: jobs that have ended well.
        total: all its jobs.
        working: jobs at work.
        failed: jobs that have failed and were not started again.
        left: seconds that its jobs will take, one after the other, as far as known.
        known: whether it is known of all of them: of each rule a job has ended.
    """

    name: str
    done: int
    total: int
    working: int
    failed: int
    left: float
    known: bool


@dataclass
class Progress:
    """What Snakemake has told of a run.

    Attributes:
        clock: seconds, in place of a watch.
    """

    clock: Callable[[], float] = time.monotonic
    total: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    working: dict[int, Work] = field(default_factory=dict)
    failed: dict[int, Work] = field(default_factory=dict)
    began: float | None = None
    _seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def plan(self, jobs: Mapping[str, int]) -> None:
        """All jobs of the run, by rule."""
        self.began = self.clock()
        self.total = Counter({rule: number for rule, number in jobs.items() if rule not in (*TARGETS, "total")})

    def start(self, number: int, rule: str, wildcards: Mapping[str, str], log: str | None) -> None:
        """A job is started, or started again."""
        if rule in TARGETS:
            return
        what = " ".join(str(value) for name, value in wildcards.items() if name not in PLACES)
        self.failed.pop(number, None)
        self.working[number] = Work(rule, what, log, self.clock())
        here = sum(work.rule == rule for work in (*self.working.values(), *self.failed.values()))
        # A plan may grow while it is carried out.
        self.total[rule] = max(self.total[rule], self.done[rule] + here)

    def finish(self, number: int) -> Work | None:
        """A job has ended well; what it was, None if it is no work."""
        if work := self.working.pop(number, None):
            self.done[work.rule] += 1
            self._seconds[work.rule].append(self.clock() - work.since)
        return work

    def fail(self, number: int) -> Work | None:
        """A job has failed; what it was, None if that is known already."""
        work = self.working.pop(number, None)
        if work is not None:
            self.failed[number] = work
        return work

    def stages(self) -> list[Line]:
        """The stages that have jobs, in their order; rules of nobody's stage are one of their own."""
        rules: dict[str, list[str]] = {name: [] for name in STAGES}
        for rule in self.total:
            rules.setdefault(stage_of(rule), []).append(rule)
        return [self._line(name, members) for name, members in rules.items() if members]

    def _line(self, name: str, rules: list[str]) -> Line:
        left = [self._left(rule) for rule in rules]
        return Line(
            name,
            sum(self.done[rule] for rule in rules),
            sum(self.total[rule] for rule in rules),
            sum(work.rule in rules for work in self.working.values()),
            sum(work.rule in rules for work in self.failed.values()),
            sum(seconds for seconds in left if seconds is not None),
            None not in left,
        )

    def _left(self, rule: str) -> float | None:
        """Seconds of work: those that have ended say how long one takes."""
        running = [work for work in self.working.values() if work.rule == rule]
        failed = sum(work.rule == rule for work in self.failed.values())
        waiting = self.total[rule] - self.done[rule] - len(running) - failed
        if not running and waiting <= 0:
            return 0.0
        if not self._seconds[rule]:
            return None
        mean = sum(self._seconds[rule]) / len(self._seconds[rule])
        now = self.clock()
        return waiting * mean + sum(max(0.0, mean - (now - work.since)) for work in running)

    def end(self) -> tuple[float, bool]:
        """Seconds until all is done, if as many jobs as now go on working; and whether nothing is left out of them."""
        stages = self.stages()
        left = sum(line.left for line in stages)
        return left / max(1, len(self.working)), all(line.known for line in stages)


def stage_of(rule: str) -> str:
    """The stage of a rule."""
    return next((name for name, starts in STAGES.items() if rule.startswith(starts)), rule)
