"""The command line: one verb per stage, thin. Verbs import their stage when they run, so that --help is instant."""

import sys

from jetloom.cli import (  # noqa: F401
    cluster,
    data,
    derived,
    doctor,
    evaluate,
    gpus,
    mlflow,
    models,
    new,
    plan,
    report,
    results,
    status,
    store,
    train,
)
from jetloom.cli.app import app
from jetloom.errors import JetloomError
from jetloom.system.files import FULL, full


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``jetloom``: a user's mistake is one line on stderr and status 1."""
    try:
        app(arguments)
    except JetloomError as error:
        sys.exit(f"jetloom: {error}")
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        if error.errno in FULL:
            sys.exit(f"jetloom: {full(error, error.filename or 'output')}")
        if error.filename is None and error.errno is None:
            raise
        sys.exit(f"jetloom: {error.strerror}: {error.filename or 'output'}")
