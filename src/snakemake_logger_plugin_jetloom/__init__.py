"""Snakemake's logger plugin ``jetloom``: one screen on a terminal, plain lines elsewhere; see jetloom.workflow.screen.

A dry run says on a terminal how many jobs of each stage would run, and why. With ``--verbose`` or ``--quiet``, and in a
dry run elsewhere, the plugin does nothing, and Snakemake says its own words. Snakemake finds the package by its name.
"""

import logging
import sys
from typing import Any

from rich.console import Console
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from jetloom.workflow.screen import Failure, Screen

NOISE = (
    "Assuming unrestricted", "Using shell", "Rules claiming", "Select jobs", "host:", "Group jobs: inactive",
    "Conda environments: ignored", "Singularity containers: ignored", "Elapsed time", "This was a dry-run",
    # Of failures, which are shown with what the job said.
    "RuleException:\nCalledProcessError", "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete",
)  # fmt: skip
"""How words of Snakemake begin that the screen says better, or that nobody needs."""


class LogHandler(LogHandlerBase):
    """What Snakemake tells, on the screen."""

    def __post_init__(self) -> None:
        told = self.common_settings
        self.planned = bool(told.dryrun)
        own = told.verbose or told.quiet or told.debug_dag
        self.shown = not (own or (told.dryrun and not sys.stderr.isatty()))
        self.screen = Screen(Console(stderr=True, no_color=told.nocolor or None))

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        if not self.shown:
            return
        try:
            self._show(record)
        except Exception:
            self.handleError(record)

    def _show(self, record: logging.LogRecord) -> None:
        told: dict[str, Any] = record.__dict__
        if self.planned:
            self._show_plan(record, told)
            return
        match told.get("event"):
            case LogEvent.RUN_INFO:
                self.screen.plan(told["stats"])
            case LogEvent.JOB_INFO:
                self.screen.start(told["jobid"], told["rule_name"], told["wildcards"] or {}, told["log"])
            case LogEvent.JOB_FINISHED:
                self.screen.finish(told["job_id"])
            case LogEvent.JOB_ERROR:
                elsewhere = told["aux"].get("external_jobid")
                self.screen.fail(told["jobid"], told["log"], told["shellcmd"], elsewhere)
            case LogEvent.GROUP_ERROR:
                self.screen.fail_group([_failure(job) for job in told["job_error_info"]], told["aux_logs"])
            case LogEvent.ERROR | None:
                self._say(record)

    def _show_plan(self, record: logging.LogRecord, told: dict[str, Any]) -> None:
        """Of a dry run, which tells the numbers of jobs before each of them and once more behind."""
        match told.get("event"):
            case LogEvent.RUN_INFO if not self.screen.progress.total:
                self.screen.foretell(told["stats"])
            case LogEvent.ERROR | None:
                self._say(record)

    def _say(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip().replace("\n    (check individual jobs above for details)", "")
        if text in ("", "None") or text.startswith(NOISE):
            return
        self.screen.say(text, {logging.ERROR: "red", logging.WARNING: "yellow"}.get(record.levelno, ""))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.screen.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """Whether it takes the place of Snakemake's own words."""
        return self.shown

    @property
    def writes_to_file(self) -> bool:
        """It writes no file."""
        return False

    @property
    def has_filter(self) -> bool:
        """It chooses what it shows itself."""
        return True

    @property
    def has_formatter(self) -> bool:
        """It words what it shows itself."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """It draws no graph."""
        return False


def _failure(told: dict[str, Any]) -> Failure:
    elsewhere = told["aux"].get("external_jobid")
    return Failure(told["jobid"], told["log"], told["output"], told["shellcmd"], elsewhere)
