"""The command `jetloom`, its groups of verbs, and the arguments that several verbs share."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from jetloom import __version__

app = App(
    name="jetloom",
    version=__version__,
    help="Train and compare jet taggers. The workflow (`snakemake --profile profiles/local`) calls these verbs; "
    "each one also works by hand.",
)
simulate = app.command(App(name="simulate", help="Make a simulated data set in its publisher's own format."))
tensors = app.command(App(name="tensors", help="Turn skims into shards ready to train on."))
datasets = app.command(App(name="datasets", help="What the data sets are, and what of them is here."))
store = app.command(App(name="data", help="Raw files, skims and tensors of the workflow, and which results use them."))
mlflow = app.command(App(name="mlflow", help="The MLflow store of the trainings."))

Set = Annotated[
    tuple[str, ...], Parameter(name="--set", help="KEY=VALUE over the preset, repeatable; values are YAML", negative="")
]
Option = Annotated[
    tuple[str, ...], Parameter(name="--option", help="KEY=VALUE of the architecture, repeatable", negative="")
]
Of = Annotated[Path | None, Parameter(name="--about")]
Files = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]
Some = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")]
