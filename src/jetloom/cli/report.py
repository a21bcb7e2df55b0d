"""Verbs that show stored results: report, figure."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from jetloom.cli.app import Some, app
from jetloom.errors import JetloomError
from jetloom.system.importing import importing

if TYPE_CHECKING:
    from jetloom.results.inputs import Inputs


@Parameter(name="*")
@dataclass(frozen=True)
class Files:
    """Files of trainings; each says itself to which it belongs.

    Attributes
    ----------
    metrics
        metrics.json of all trainings; default: those of the configuration.
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
    closeness
        closeness.json of derived data sets.
    observables
        observables.parquet, each beside its closeness.json.
    config
        Configuration of the experiment: its titles count, results of other settings are refused, the page ends with
        it.
    """

    metrics: Some = ()
    training: Some = ()
    predictions: Some = ()
    histories: Some = ()
    costs: Some = ()
    manifests: Some = ()
    examples: Some = ()
    closeness: Some = ()
    observables: Some = ()
    config: Path | None = None


@app.command
def report(
    directory: Path | None = None,
    *,
    files: Files | None = None,
    output: Path,
    title: str | None = None,
    benchmarks: Some = (),
    resources: Path | None = None,
    provenance: Path | None = None,
    threads: int = 1,
) -> None:
    """Write the page with its tables and figures from stored results; trains nothing, reads no MLflow.

    Parameters
    ----------
    directory
        Finished experiment whose provenance.json names the files; or name them yourself.
    output
        Directory for index.html, figures/ and tables/.
    title
        Headline.
    benchmarks
        Directories of Snakemake's benchmark files; default: those of the configuration.
    resources
        File of what jobs asked for and used, for the table of it; made from the benchmark files, if there are any.
    provenance
        File for the record that ties each number to runs, files, hashes and commits (provenance.json).
    threads
        Figures drawn at the same time.
    """
    if threads < 1:
        raise JetloomError(f"report: --threads: expected at least 1, got {threads}")
    with importing():
        from jetloom.report.build import report as run
        from jetloom.report.resources import read_jobs, write_jobs

    given, measured = _inputs(directory, files or Files())
    if resources:
        if measured or benchmarks:
            write_jobs(read_jobs(benchmarks or measured), resources)
        given = replace(given, resources=resources)
    given = replace(given, title=title) if title else given
    rows = run(given, output, threads)
    if provenance:
        from jetloom.report.record.provenance import write

        write(provenance, given, output, rows)


@app.command
def figure(name: str, directory: Path | None = None, *, files: Files | None = None, output: Path) -> None:
    """Draw one figure, or all, again from stored results: PDF, PNG and the numbers behind it as CSV.

    Parameters
    ----------
    name
        Figure, for example roc (a wrong name lists them), or all.
    directory
        Finished experiment whose provenance.json names the files; or name them yourself.
    output
        Directory of the figures; one figure leaves the others in it as they are, all replace them.
    """
    with importing():
        from jetloom.report import build

    given, _ = _inputs(directory, files or Files())
    if name == "all":
        build.figures(given, output)
    else:
        build.figure(name, given, output)


def _inputs(directory: Path | None, files: Files) -> tuple["Inputs", list[Path]]:
    """Files of a report, and the directories of the benchmark files that belong to them."""
    from jetloom.results.inputs import Inputs

    if directory:
        return _stored(directory), []
    if files.metrics or not files.config:
        return Inputs(**vars(files)), []
    from jetloom.config import read_experiment
    from jetloom.workflow.plan import Plan

    experiment = read_experiment(files.config)
    plan = Plan(experiment)
    of_runs: dict[str, Any] = {
        role: [Path(path) for path in paths]
        for role, paths in (
            ("metrics", plan.evaluations("metrics.json")),
            ("training", plan.files("training.json")),
            ("predictions", plan.evaluations("predictions.parquet")),
            ("histories", plan.files("history.csv")),
            ("examples", plan.evaluations("examples.json")),
        )
    }
    given = Inputs(
        **of_runs,
        costs=[Path(path) for path in plan.costs],
        manifests=files.manifests or [Path(data.manifest) for data in plan.data.values()],
        closeness=[Path(path) for path in plan.closeness],
        observables=[Path(path).with_name("observables.parquet") for path in plan.closeness],
        config=files.config,
        title=experiment.report.title,
    )
    return given, [Path(place) for place in plan.benchmarks]


def _stored(directory: Path) -> "Inputs":
    """Files of a finished experiment; says on stderr what will not come out byte for byte."""
    from jetloom.report.record.provenance import versions
    from jetloom.results.inputs import inputs, other_versions

    if not directory.is_dir():
        raise JetloomError(f"{directory}: no such directory; a finished experiment is results/<experiment>")
    given = inputs(directory)
    others = other_versions(directory, versions())
    if others:
        print(f"jetloom: figures may differ by some bytes: {', '.join(others)}", file=sys.stderr)
    return given
