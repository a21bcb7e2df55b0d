"""The program ``jetloom``, also as ``python -m jetloom.cli``."""

import atexit
import os
import sys

from jetloom.cli import main


def run() -> None:
    """Do what the command line says, and end the process without taking apart first what it has imported.

    That takes a tenth of a second of a skim, and the system frees all at once. Threads are waited for, and whatever is
    registered for the end of the process is called, as ever: this comes last, since it is registered first.
    """
    status: int | None = None

    def end() -> None:
        if status is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    atexit.register(end)
    try:
        main()
        status = 0
    except SystemExit as ended:
        # Python itself says a text, which follows this.
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise


if __name__ == "__main__":
    run()
