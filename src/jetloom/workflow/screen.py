"""One screen while a workflow runs: a bar for each stage, what is at work, and what failed with its last words.

Where there is no terminal, a line for each job that has ended instead.
"""

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jetloom.workflow.progress import Line, Progress, Work, stage_of

LAST = 2_000
"""Bytes of a log that are looked at."""
LINES = 8
"""Of the log of a failed job."""
REDIRECTED = re.compile(r"\s*&>\s*\S+\s*$")


@dataclass(frozen=True)
class Failure:
    """A job of a group that has failed.

    Attributes:
        number: of the job.
        logs: its files.
        outputs: files that it should have made.
        command: of the shell.
        elsewhere: name of its group in a cluster.
    """

    number: int
    logs: Sequence[str]
    outputs: Sequence[str]
    command: str | None
    elsewhere: str | None

    @property
    def ended(self) -> bool:
        """Whether it has made all of them."""
        return all(Path(output).exists() for output in self.outputs)


class Screen:
    """What a user sees.

    Args:
        console: where; default: standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = Progress()
        self._lock = threading.Lock()
        self._live = Live(
            console=self.console, get_renderable=self._draw, refresh_per_second=2, transient=True, redirect_stdout=False
        )

    def plan(self, jobs: Mapping[str, int]) -> None:
        """All jobs of the run, by rule."""
        with self._lock:
            self.progress.plan(jobs)
            stages = self.progress.stages()
        if not self.console.is_terminal:
            numbers = ", ".join(f"{line.name} {line.total}" for line in stages)
            self.say(f"{sum(line.total for line in stages)} jobs: {numbers}")

    def foretell(self, jobs: Mapping[str, int]) -> None:
        """All jobs of a dry run, by rule: a line for each stage."""
        with self._lock:
            self.progress.plan(jobs)
            stages, self.progress.began = self.progress.stages(), None
        table = Table.grid(padding=(0, 2))
        for line in stages:
            rules = [f"{rule} {number}" for rule, number in self.progress.total.items() if stage_of(rule) == line.name]
            table.add_row(line.name, Text(str(line.total), justify="right"), Text(", ".join(rules), "dim"))
        self.say(f"{sum(line.total for line in stages)} jobs would run:", "bold")
        self.console.print(table)
        self.say("job by job: --verbose; disk and hours: jetloom plan --config ...", "dim")

    def start(self, number: int, rule: str, wildcards: Mapping[str, str], logs: Sequence[str]) -> None:
        """A job is started."""
        with self._lock:
            self.progress.start(number, rule, wildcards, logs[0] if logs else None)
        if self.console.is_terminal:
            self._live.start(refresh=True)

    def finish(self, number: int) -> None:
        """A job has ended well."""
        with self._lock:
            work = self.progress.finish(number)
            done, total = sum(self.progress.done.values()), sum(self.progress.total.values())
        if work is not None and not self.console.is_terminal:
            took = duration(self.progress.clock() - work.since)
            place, what = f"{done:{len(str(total))}} of {total}", f"{work.rule} {work.what}".rstrip()
            self.say(f"{datetime.now():%H:%M:%S}  {place}  {took:>7}  {what}")

    def fail(self, number: int, logs: Sequence[str], command: str | None, elsewhere: str | None = None) -> None:
        """A job has failed: its last words, and how to repeat it.

        Args:
            number: of the job.
            logs: its files, that of the job around it last.
            command: of the shell.
            elsewhere: its name in a cluster.
        """
        with self._lock:
            work = self.progress.fail(number)
        if work is None:
            return
        after = duration(self.progress.clock() - work.since)
        where = f", job {elsewhere} of the cluster" if elsewhere else ""
        words = [Text(f"FAILED {work.rule} {work.what} after {after}{where}", "bold red")]
        for log in logs:
            lines = last_lines(Path(log), LINES)
            state = ":" if lines else " is empty" if Path(log).exists() else " is not there"
            words += [Text(f"  {log}{state}", "red"), *(Text(f"    {line}") for line in lines)]
        if command:
            words.append(Text(f"  again, alone: {REDIRECTED.sub('', ' '.join(command.split()))}"))
        self.console.print(Text("\n").join(words), soft_wrap=True)

    def fail_group(self, jobs: Sequence[Failure], logs: Sequence[str]) -> None:
        """Jobs that a cluster ran in turn as one have failed: shown are those that have begun and not ended.

        Args:
            jobs: all of the group.
            logs: files of the group.
        """
        begun = [job for job in jobs if any(last_lines(Path(log), 1) for log in job.logs) and not job.ended]
        for job in begun or jobs[:1]:
            self.fail(job.number, [*job.logs, *logs], job.command, job.elsewhere)
        with self._lock:
            others = [work for job in jobs if (work := self.progress.fail(job.number))]
        if others:
            self.say(f"  and with it {len(others)} more of its group", "red")

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self.console.print(Text(text, style), soft_wrap=True)

    def close(self) -> None:
        """The end: one line that says how it went."""
        self._live.stop()
        with self._lock:
            progress = self.progress
            if progress.began is None:
                return
            done, total = sum(progress.done.values()), sum(progress.total.values())
            took = duration(progress.clock() - progress.began)
            progress.began = None
            failed = [f"{work.rule} {work.what}".strip() for work in progress.failed.values()]
        if failed:
            names = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
            self.say(f"{done} of {total} jobs done in {took}; failed: {names}. Give the command again to go on.", "red")
        elif done < total:
            self.say(f"{done} of {total} jobs done in {took}. Give the command again to go on.", "yellow")
        else:
            self.say(f"{done} of {total} jobs done in {took}.", "green")

    def _draw(self) -> RenderableType:
        with self._lock:
            stages, working = self.progress.stages(), sorted(self.progress.working.values(), key=lambda job: job.since)
            head = self._head(stages)
            now = self.progress.clock()
        room = max(1, self.console.height - len(stages) - 4)
        shown, more = working[:room], len(working) - room
        parts: list[RenderableType] = [head, _bars(stages), _at_work(shown, now)]
        if more > 0:
            parts.append(Text(f"and {more} more", "dim"))
        return Group(*parts)

    def _head(self, stages: Sequence[Line]) -> Text:
        done, total = sum(line.done for line in stages), sum(line.total for line in stages)
        began = self.progress.began if self.progress.began is not None else self.progress.clock()
        words = [f"{done} of {total} jobs", duration(self.progress.clock() - began)]
        seconds, complete = self.progress.end()
        if seconds:
            end = datetime.fromtimestamp(time.time() + seconds)
            shown = f"{end:%H:%M}" if seconds < timedelta(hours=12).total_seconds() else f"{end:%d %B, %H:%M}"
            words.append(f"{'ends about' if complete else 'not before'} {shown}")
        if failed := sum(line.failed for line in stages):
            words.append(f"{failed} failed")
        return Text("   ".join(words), "bold")


def _bars(stages: Sequence[Line]) -> Table:
    table = Table.grid(padding=(0, 2))
    for line in stages:
        left = line.total - line.done - line.working - line.failed
        words = [f"{line.working} at work"] * bool(line.working) + [f"{left} to come"] * bool(left)
        if line.left:
            about = "about" if line.known else "more than"
            words.append(f"{about} {duration(line.left / max(1, line.working))} left")
        table.add_row(
            line.name,
            ProgressBar(total=max(1, line.total), completed=line.done, width=30),
            Text(f"{line.done}/{line.total}", justify="right"),
            Text(f"{line.failed} failed", "red") if line.failed else "",
            Text(", ".join(words), "dim"),
        )
    return table


def _at_work(jobs: Sequence[Work], now: float) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        said = last_lines(Path(job.log), 1) if job.log else []
        table.add_row(f"{job.rule} {job.what}", duration(now - job.since), Text(said[0] if said else "", "dim"))
    return table


def last_lines(path: Path, number: int) -> list[str]:
    """The last lines of a log that say something, as far as its last bytes go; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LAST))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    # A bar that was drawn over and over is its last state.
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    return [line for line in lines if line.strip()][-number:]


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, the shorter the better."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
