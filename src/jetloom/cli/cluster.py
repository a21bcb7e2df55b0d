"""The verb that tidies up after a workflow on a cluster."""

from pathlib import Path

from jetloom.cli.app import app


@app.command(name="cancel-orphans")
def cancel_orphans(directory: Path = Path()) -> None:
    """Cancel the SLURM jobs of a workflow that was killed; the workflow does so when it starts again.

    Parameters
    ----------
    directory
        The project, in which no workflow runs.
    """
    from jetloom.workflow.orphans import cancel_orphans

    for job in cancel_orphans(directory.resolve()):
        print(f"cancelled SLURM job {job}: the workflow that had submitted it is dead")
