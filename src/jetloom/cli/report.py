"""Verbs that show stored results: report, figure."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from jetloom.cli.app import Files, app


@app.command
def report(
    *,
    metrics: Files,
    training: Files,
    predictions: Files,
    histories: Files,
    costs: Files,
    manifests: Files,
    output: Path,
    title: str = "Jet taggers compared",
    config: Path | None = None,
    benchmarks: Path | None = None,
    measured: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> None:
    """Write the page with its tables and figures from stored results; trains nothing, reads no MLflow.

    Parameters
    ----------
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
    """
    from jetloom.report.build import report as run

    run(
        metrics,
        training,
        predictions,
        histories,
        costs,
        manifests,
        output,
        title=title,
        config=config,
        benchmarks=benchmarks,
        measured=measured,
    )


@app.command
def figure(
    name: str,
    *,
    metrics: Files,
    training: Files,
    predictions: Files,
    histories: Files,
    costs: Files,
    manifests: Files,
    output: Path,
) -> None:
    """Draw one figure again from stored results: PDF, PNG and the numbers behind it as CSV.

    Parameters
    ----------
    name
        Figure, for example roc (a wrong name lists them all).
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
    output
        Directory of the figures; the others in it stay.
    """
    from jetloom.report.build import figure as run

    run(name, metrics, training, predictions, histories, costs, manifests, output)
