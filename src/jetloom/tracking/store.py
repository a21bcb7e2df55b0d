"""Where MLflow keeps its runs: made once, named in one file, opened by every training."""

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tenacity

from jetloom.errors import JetloomError
from jetloom.system.files import appearing
from jetloom.system.masking import masked, without_password
from jetloom.tracking.views import introduce

# Seconds and tries; MLflow's own patience with a dead server is many minutes.
TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
QUIET = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # It would print the address with its password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LOCK_RETRIES = 5


def unmasked(shown: str) -> str:
    """The URI that ``masked`` made unreadable: it has to come from ``MLFLOW_TRACKING_URI``.

    Raises:
        JetloomError: the environment names another store or none.
    """
    if "***" not in shown:
        return shown
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if masked(uri) != shown:
        raise JetloomError(f"MLFLOW_TRACKING_URI has to name the store {shown}, which is not written down with its key")
    return uri


def default_uri(directory: Path) -> str:
    """The SQLite store of a results directory."""
    return f"sqlite:///{(directory / 'mlflow.db').resolve()}"


def choose_uri(uri: str | None, directory: Path, *, must_exist: bool = False) -> str:
    """The configured URI, else ``MLFLOW_TRACKING_URI``, else the SQLite store of the results directory.

    Raises:
        JetloomError: a file store, which MLflow no longer writes, a password in the configuration, or no SQLite store
            where one must exist.
    """
    chosen = without_password(uri or "") or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(directory)
    if not re.match(r"(sqlite|postgresql|mysql|mssql)[+\w]*:|https?:|databricks", chosen):
        raise JetloomError(
            f"tracking.uri: {masked(chosen)} is a file store, which MLflow no longer writes; "
            "expected http(s)://..., sqlite:///... or postgresql://..."
        )
    if must_exist and chosen == default_uri(directory) and not (directory / "mlflow.db").is_file():
        raise JetloomError(f"{directory / 'mlflow.db'}: no store yet; run the workflow first (`make demo`)")
    return chosen


def open_client(uri: str) -> Any:
    """MLflow's client, with short patience; importing it takes seconds."""
    for name, value in {**TIMEOUTS, **QUIET}.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    # It would tell of every try; we warn once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


class Clients:
    """Clients of stores, each asked once whether it answers: a dead one would cost its time-out for every run."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def of(self, uri: str) -> Any:
        """Client of a store.

        Raises:
            JetloomError: it does not answer.
        """
        if uri not in self._known:
            try:
                self._known[uri] = open_client(uri)
                self._known[uri].search_experiments(max_results=1)
            except Exception as error:
                self._known[uri] = JetloomError(f"MLflow at {masked(uri)}: {reason(error)}")
        if isinstance(self._known[uri], JetloomError):
            raise self._known[uri]
        return self._known[uri]


def reason(error: Exception) -> str:
    """The first line of an error, without passwords."""
    lines = str(error).splitlines()
    if lines and "ConnectionPool(" in lines[0]:
        return "it does not answer"
    return masked(lines[0])[:300] if lines else type(error).__name__


def patiently(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call MLflow; several trainings may write to one SQLite file at the same moment."""
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_message(match="(?s).*database is locked"),
        wait=tenacity.wait_exponential(0.2),
        stop=tenacity.stop_after_attempt(LOCK_RETRIES),
        reraise=True,
    )
    return tries(function, *arguments, **named)


class Store(NamedTuple):
    """A store and one experiment in it, as a training is told.

    ``offline``: nothing is sent; figures wait in files for ``jetloom mlflow sync``.
    """

    uri: str
    experiment: str
    experiment_id: str | None = None
    offline: bool = False
    file: Path | None = None


def prepare(uri: str | None, experiments: list[str], directory: Path, output: Path, *, offline: bool = False) -> None:
    """Create store and experiments, before several trainings race to create them.

    Args:
        uri: tracking server or database; None as in ``choose_uri``.
        experiments: names.
        directory: of the default store and its artifacts.
        output: JSON file ``{uri, offline, experiments: {name: id}}``, the URI without its password if it has one.
        offline: ask no store; trainings keep their figures in files, and ``jetloom mlflow sync`` sends them.

    Raises:
        JetloomError: the store cannot be reached.
    """
    chosen = choose_uri(uri, directory)
    directory.mkdir(parents=True, exist_ok=True)
    ids = dict.fromkeys(experiments) if offline else _make(chosen, experiments, directory)
    with appearing(output) as partial:
        partial.write_text(json.dumps({"uri": masked(chosen), "offline": offline, "experiments": ids}, indent=1))


def _make(chosen: str, experiments: list[str], directory: Path) -> dict[str, str]:
    try:
        # Of several that create one SQLite store at once all but one crash.
        with turns(directory / ".mlflow.lock"):
            client = open_client(chosen)
            return {name: experiment_id(client, name) for name in experiments}
    except Exception as error:
        # MLflow passes on whatever the driver or the network raised.
        raise JetloomError(
            f"MLflow at {masked(chosen)}: {reason(error)}; start it, or set tracking.offline: true to keep the figures "
            "in files until `jetloom mlflow sync`"
        ) from None


@contextlib.contextmanager
def turns(lock: Path) -> Iterator[None]:
    """Of several processes with the same file one at a time goes on."""
    with lock.open("w") as file:
        # Some shared file systems know no locks: there it is for a server to cope.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def experiment_id(client: Any, name: str) -> str:
    """Id of an experiment; it is made, or brought back, if it is not there."""
    found = client.get_experiment_by_name(name)
    if found is None:
        uri = client.tracking_uri
        # A server knows where its artifacts are; those of a file lie beside it, those of a bare database here.
        place = Path(uri.partition("sqlite:///")[2]).parent / "mlartifacts" / name
        artifacts = None if uri.startswith(("http", "databricks")) else place.resolve().as_uri()
        made = str(client.create_experiment(name, artifacts))
        introduce(client, made, name, {})
        return made
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    introduce(client, str(found.experiment_id), name, found.tags)
    return str(found.experiment_id)


def open_store(file: Path, experiment: str) -> Store:
    """An experiment in a store written by ``prepare``.

    Raises:
        JetloomError: no such file, another experiment, or a password that the environment does not give.
    """
    try:
        content = json.loads(file.read_text())
        known = content["experiments"][experiment]
        return Store(unmasked(content["uri"]), experiment, known, content.get("offline", False), file)
    except FileNotFoundError:
        raise JetloomError(f"{file}: no such store; `jetloom mlflow init` writes one") from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise JetloomError(
            f"{file}: experiment {experiment!r} is not in this store; run `jetloom mlflow init` again"
        ) from None


def ui(uri: str | None, directory: Path, port: int) -> None:
    """Serve the MLflow UI of a store on this machine until interrupted.

    Raises:
        JetloomError: there is no store yet.
    """
    chosen = choose_uri(uri, directory, must_exist=True)
    if chosen.startswith("http"):
        print(f"The runs are on a server: {masked(chosen)}")
        return
    print(f"MLflow: http://127.0.0.1:{port}  (store {masked(chosen)}; Ctrl-C ends it)", flush=True)
    # By the environment: a password among the arguments could be read by everybody on this machine.
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": chosen, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execvpe(sys.executable, [sys.executable, "-m", "mlflow", "ui", *arguments], environment)
