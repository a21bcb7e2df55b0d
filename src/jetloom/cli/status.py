"""The verb that says what runs."""

from pathlib import Path

from jetloom.cli.app import app


@app.command
def status(directory: Path = Path()) -> None:
    """Which jobs of the workflow run, where, since when, and where their logs are.

    Parameters
    ----------
    directory
        The project.
    """
    from rich.console import Console
    from rich.table import Table

    from jetloom.workflow.jobs import jobs

    found = jobs(directory.resolve())
    if not found:
        print(f"{directory.resolve()}: no workflow runs here, and no job of one")
        return
    table = Table("where", "state", "since", "what", "log", box=None, pad_edge=False)
    for job in found:
        table.add_row(job.where, job.state, job.since, job.what, job.log)
    # To a file or a pipe, no line is cut.
    Console(width=None if Console().is_terminal else 1000).print(table)
