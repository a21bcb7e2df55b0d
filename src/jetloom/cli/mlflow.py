"""Verbs of the MLflow store."""

from pathlib import Path

from jetloom.cli.app import Files, Some, mlflow
from jetloom.system.importing import importing


@mlflow.command(name="init")
def mlflow_init(
    experiments: list[str], *, uri: str | None = None, offline: bool = False, directory: Path, output: Path
) -> None:
    """Create the store and its experiments once, before several trainings write to it.

    Parameters
    ----------
    experiments
        Names of MLflow experiments.
    uri
        Tracking server; default: MLFLOW_TRACKING_URI, else a SQLite file in DIRECTORY.
    offline
        Ask no server: trainings keep their figures in files, which `jetloom mlflow sync` sends.
    directory
        Directory of the default store and of its artifacts.
    output
        JSON file with the URI and the ids, for `jetloom train --store`.
    """
    with importing():
        from jetloom.tracking.store import prepare

    prepare(uri, experiments, directory, output, offline=offline)


@mlflow.command(name="log")
def mlflow_log(
    *,
    metrics: Files,
    costs: Files,
    figures: Path | None = None,
    closeness: Some = (),
    config: Path | None = None,
    onnx: bool = True,
    output: Path,
) -> None:
    """Put figures of merit, cost, predictions and figures into the runs of the trainings; register the best models.

    Parameters
    ----------
    metrics
        metrics.json of evaluations; beside each what else belongs to the run.
    costs
        cost.json of the models.
    figures
        Directory of the report's figures.
    closeness
        closeness.json of derived data sets.
    config
        The experiment's configuration.
    onnx
        Register models as ONNX; else as checkpoints.
    output
        JSON file that lists which runs took them.
    """
    with importing():
        from jetloom.publish.track import track

    track(metrics, costs, figures, output, closeness=closeness, config=config, onnx=onnx)


@mlflow.command(name="sync")
def mlflow_sync(*places: Path, uri: str | None = None) -> None:
    """Send what trainings without a server have left, into their own runs.

    Parameters
    ----------
    places
        Directories of results; default: results.
    uri
        Another server than the trainings were told.
    """
    with importing():
        from jetloom.tracking.sync import sync

    sync(places or (Path("results"),), uri)


@mlflow.command(name="export")
def mlflow_export(output: Path, *, uri: str | None = None, directory: Path = Path("results")) -> None:
    """Write all runs as a static table.

    Parameters
    ----------
    output
        File that ends in .csv or .html.
    uri
        Tracking server; default: MLFLOW_TRACKING_URI, else the SQLite file in DIRECTORY.
    directory
        Directory of the default store.
    """
    with importing():
        from jetloom.tracking.table import export

    export(uri, directory, output)


@mlflow.command(name="ui")
def mlflow_ui(*, uri: str | None = None, directory: Path = Path("results"), port: int = 5000) -> None:
    """Open the MLflow UI on the right store.

    Parameters
    ----------
    uri
        Tracking server; default: MLFLOW_TRACKING_URI, else the SQLite file in DIRECTORY.
    directory
        Directory of the default store.
    port
        Port on this machine.
    """
    from jetloom.tracking.store import ui

    ui(uri, directory, port)


@mlflow.command(name="serve")
def mlflow_serve(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    workers: int = 2,
    allowed_hosts: str | None = None,
    postgres_user: str | None = None,
) -> None:
    """Run an MLflow server for a group, with PostgreSQL and artifacts in one directory; no container, no root.

    Parameters
    ----------
    directory
        Database, artifacts and logs; made if it is not there.
    host
        Address to listen on; 0.0.0.0: all of this machine.
    port
        Port of the server.
    workers
        Processes that answer requests.
    allowed_hosts
        Names under which the server is reached, separated by commas; localhost and private addresses always work.
    postgres_user
        Who runs PostgreSQL when root calls this.
    """
    from jetloom.tracking.server import serve

    serve(
        directory,
        host=host,
        port=port,
        workers=workers,
        allowed_hosts=allowed_hosts,
        postgres_user=postgres_user,
    )
