"""Verbs that show stored results: report, figure."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from jetloom.cli.app import app
from jetloom.errors import JetloomError

if TYPE_CHECKING:
    from jetloom.report.stored import Inputs

Some = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")]


@app.command
def report(
    directory: Path | None = None,
    *,
    metrics: Some = (),
    training: Some = (),
    predictions: Some = (),
    histories: Some = (),
    costs: Some = (),
    manifests: Some = (),
    examples: Some = (),
    output: Path,
    title: str | None = None,
    config: Path | None = None,
    benchmarks: Path | None = None,
    measured: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    provenance: Path | None = None,
) -> None:
    """Write the page with its tables and figures from stored results; trains nothing, reads no MLflow.

    Parameters
    ----------
    directory
        Finished experiment whose provenance.json names the files; or name them yourself:
    metrics
        metrics.json of all trainings.
    training
        training.json of the same trainings.
    predictions
        predictions.parquet of the same trainings.
    histories
        history.csv of the same trainings.
    costs
        cost.json of the models.
    manifests
        manifest.json of the data sets.
    examples
        examples.json of the same trainings, for the figures of single jets.
    output
        Directory for index.html, figures/ and tables/.
    title
        Headline.
    config
        Configuration to print at the end of the page; its titles of the models count.
    benchmarks
        Directory of Snakemake's benchmark files, for the table of resources asked for and used.
    measured
        Experiment or data set whose benchmark files count (repeatable).
    provenance
        File for the record that ties each number to runs, files, hashes and commits (provenance.json).
    """
    from jetloom.report.build import report as run
    from jetloom.report.stored import Inputs

    if directory:
        given = _stored(directory)
    else:
        given = Inputs(metrics, training, predictions, histories, costs, manifests, examples, config,
                       benchmarks=benchmarks, measured=measured)  # fmt: skip
    given = replace(given, title=title) if title else given
    run(given, output)
    if provenance:
        from jetloom.report.provenance import write

        write(provenance, given, output)


@app.command
def figure(
    name: str,
    directory: Path | None = None,
    *,
    metrics: Some = (),
    training: Some = (),
    predictions: Some = (),
    histories: Some = (),
    costs: Some = (),
    manifests: Some = (),
    examples: Some = (),
    output: Path,
) -> None:
    """Draw one figure, or all, again from stored results: PDF, PNG and the numbers behind it as CSV.

    Parameters
    ----------
    name
        Figure, for example roc (a wrong name lists them), or all.
    directory
        Finished experiment whose provenance.json names the files; or name them yourself:
    metrics
        metrics.json of all trainings.
    training
        training.json of the same trainings.
    predictions
        predictions.parquet of the same trainings.
    histories
        history.csv of the same trainings.
    costs
        cost.json of the models.
    manifests
        manifest.json of the data sets.
    examples
        examples.json of the same trainings, for the figures of single jets.
    output
        Directory of the figures; one figure leaves the others in it as they are, all replace them.
    """
    from jetloom.report import build
    from jetloom.report.stored import Inputs

    if directory:
        given = _stored(directory)
    else:
        given = Inputs(metrics, training, predictions, histories, costs, manifests, examples)
    if name == "all":
        build.figures(given, output)
    else:
        build.figure(name, given, output)


def _stored(directory: Path) -> "Inputs":
    """Files of a finished experiment; says on stderr what will not come out byte for byte."""
    from jetloom.report.provenance import versions
    from jetloom.report.stored import inputs, other_versions

    if not directory.is_dir():
        raise JetloomError(f"{directory}: no such directory; a finished experiment is results/<experiment>")
    given = inputs(directory)
    others = other_versions(directory, versions())
    if others:
        print(f"jetloom: figures may differ by some bytes: {', '.join(others)}", file=sys.stderr)
    return given
