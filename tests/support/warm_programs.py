"""The workflow and its verbs as they are, imported beforehand."""

import atexit
import sys

import rich.console
import rich.progress  # noqa: F401
import smart_open  # noqa: F401
import snakemake.cli
import snakemake.report.html_reporter
import torch.utils.serialization  # noqa: F401

from jetloom import cli
from jetloom.cli import choice  # noqa: F401
from jetloom.data.prepare import (
    skimlist,  # noqa: F401
    tensors,  # noqa: F401
)
from jetloom.data.simulate import shapes  # noqa: F401
from jetloom.data.sources import modelnet10  # noqa: F401
from jetloom.evaluation import cost, evaluate  # noqa: F401
from jetloom.publish import track  # noqa: F401
from jetloom.report import build  # noqa: F401
from jetloom.report.record import (
    provenance,  # noqa: F401
    verify,  # noqa: F401
)
from jetloom.tasks.classification import (
    measure,  # noqa: F401
    show,  # noqa: F401
)
from jetloom.training import train  # noqa: F401
from jetloom.workflow import (
    drivers,  # noqa: F401
    store,  # noqa: F401
)


def workflow(arguments: list[str], driver: int | None) -> None:
    """Run snakemake in this process."""
    sys.argv = ["snakemake", *arguments]
    try:
        snakemake.cli.main(arguments)
    finally:
        # A workflow takes its own note away.
        atexit._run_exitfuncs()


def verb(arguments: list[str], driver: int | None) -> None:
    """Run jetloom in this process."""
    cli.main(arguments)


PROGRAMS = {"snakemake": workflow, "jetloom": verb}
"""What a warm process runs."""
