"""The verb that gives a command its GPUs."""

from typing import Annotated

from cyclopts import Parameter

from jetloom.cli.app import app


@app.command
def gpus(count: int, program: str, *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Run a command that sees COUNT GPUs of this machine, none of which another such command has; wait for them.

    The workflow does so outside a cluster: `jetloom gpus 1 jetloom train ...`.

    Parameters
    ----------
    count
        How many.
    program
        What to run.
    arguments
        Of the program.
    """
    from jetloom.system.gpus import run_with_gpus

    run_with_gpus(count, [program, *arguments])
