"""MLflow: one run per training, fed from a thread of its own, so that no server can stop or slow a training."""

import json
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from jetloom.environment import git
from jetloom.errors import JetloomError

# Seconds; MLflow's own patience with a dead server is minutes. Read when MLflow is imported.
TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
QUIET = {"MLFLOW_ENABLE_ASYNC_LOGGING": "false", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_DISABLE_TELEMETRY": "true"}
LOCK_RETRIES = 5
SYSTEM_PERIOD = 10.0
CLOSE_TIMEOUT = 60.0
DIGEST_LENGTH = 36
"""Longest digest that MLflow takes."""
BATCH = 500


def masked(uri: str) -> str:
    """A URI without user, password and query values, for logs and files."""
    return re.sub(r"([?&][^=&]+=)[^&]*", r"\1***", re.sub(r"//[^/@]*@", "//***@", uri))


def default_uri(directory: Path) -> str:
    """The SQLite store of a results directory."""
    return f"sqlite:///{(directory / 'mlflow.db').resolve()}"


def choose_uri(uri: str | None, directory: Path) -> str:
    """The configured URI, else ``MLFLOW_TRACKING_URI``, else the SQLite store of the results directory.

    Raises:
        JetloomError: a file store, which MLflow no longer writes.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(directory)
    if not re.match(r"(sqlite|postgresql|mysql|mssql)[+\w]*:|https?:|databricks", chosen):
        raise JetloomError(
            f"tracking.uri: {masked(chosen)} is a file store, which MLflow no longer writes; "
            "expected http(s)://..., sqlite:///... or postgresql://..."
        )
    return chosen


def _client(uri: str) -> Any:
    for name, value in {**TIMEOUTS, **QUIET}.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def prepare(uri: str | None, experiments: list[str], directory: Path, output: Path) -> None:
    """Create store and experiments, before several trainings race to create them.

    Args:
        uri: tracking server or database; None as in ``choose_uri``.
        experiments: names.
        directory: of the default store and its artifacts.
        output: JSON file ``{uri, experiments: {name: id}}``; a URI with a password is not written but read again from
            the configuration by each training (``uri`` is null then).

    Raises:
        JetloomError: the store cannot be reached.
    """
    chosen = choose_uri(uri, directory)
    directory.mkdir(parents=True, exist_ok=True)
    local = chosen == default_uri(directory)
    artifacts = (directory / "mlartifacts").resolve().as_uri() if local else None
    ids = {}
    try:
        client = _client(chosen)
        for name in experiments:
            found = client.get_experiment_by_name(name)
            ids[name] = (
                found.experiment_id if found else client.create_experiment(name, artifacts and f"{artifacts}/{name}")
            )
    except Exception as error:
        # MLflow passes on whatever the driver or the network raised.
        raise JetloomError(f"MLflow at {masked(chosen)}: {masked(str(error).splitlines()[0])}") from None
    secret = masked(chosen) != chosen
    content = {"uri": None if secret else chosen, "shown": masked(chosen), "experiments": ids}
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    partial.write_text(json.dumps(content, indent=1))
    os.replace(partial, output)


class Tracker:
    """One MLflow run, written by a thread; what cannot be sent is counted and warned of once.

    Args:
        uri: tracking server or database.
        experiment_id: of the experiment.
        name: of the run.
        run_file: JSON file that keeps the run's id, so that a resumed training goes on in its own run.
        parameters: the resolved configuration, flat.
        tags: searchable facts.
        dataset: ``name``, ``digest``, ``source`` of the data set.
    """

    def __init__(
        self,
        uri: str,
        experiment_id: str,
        name: str,
        run_file: Path,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        dataset: Mapping[str, str],
    ) -> None:
        self.uri, self.experiment_id, self.name, self.run_file = uri, experiment_id, name, run_file
        self.run_id: str | None = None
        self.lost = 0
        self._client: Any = None
        self._failed = False
        self._queue: queue.Queue[Callable[[], int] | None] = queue.Queue()
        self._metrics: list[tuple[str, Any, int, int]] = []
        self._lock = threading.Lock()
        self._put(lambda: self._open(parameters, tags, dataset))
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Take down metrics, numbers or scalar tensors; they are sent soon."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            self._metrics += [(name, value, now, step) for name, value in values.items()]

    def artifact(self, path: Path) -> None:
        """Keep a copy of a file with the run."""
        self._put(lambda: self._client.log_artifact(self.run_id, str(path)) or 1)

    def close(self, status: str) -> None:
        """Send what is left and end the run; waits no longer than a minute for a slow server."""
        self._put(self._send)
        self._put(lambda: self._client.set_terminated(self.run_id, status) or 1)
        self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            self.lost += len(self._metrics) + self._queue.qsize()
            self._warn("the server did not answer in time")

    def _put(self, job: Callable[[], int]) -> None:
        self._queue.put(job)

    def _work(self) -> None:
        sampled = time.monotonic()
        process = psutil.Process()
        process.cpu_percent()
        while True:
            try:
                job = self._queue.get(timeout=1.0)
            except queue.Empty:
                if time.monotonic() - sampled > SYSTEM_PERIOD:
                    sampled = time.monotonic()
                    self.log(_system(process), int(sampled))
                job = self._send
            if job is None:
                return
            self._try(job)

    def _try(self, job: Callable[[], int]) -> None:
        for attempt in range(LOCK_RETRIES):
            try:
                job()
                return
            except Exception as error:
                # Whatever a server, a driver or a full disk raises: the training must not feel it.
                if "database is locked" in str(error) and attempt < LOCK_RETRIES - 1:
                    time.sleep(0.2 * 2**attempt)
                    continue
                with self._lock:
                    self.lost += max(1, len(self._metrics))
                    self._metrics = []
                self._warn(str(error).splitlines()[0] if str(error) else type(error).__name__)
                return

    def _warn(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            print(
                f"MLflow at {masked(self.uri)}: {masked(reason)}; training goes on without it",
                file=sys.stderr,
                flush=True,
            )

    def _open(self, parameters: Mapping[str, Any], tags: Mapping[str, str], dataset: Mapping[str, str]) -> int:
        self._client = _client(self.uri)
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        if self.run_file.is_file():
            self.run_id = json.loads(self.run_file.read_text())["run_id"]
            self._client.update_run(self.run_id, status="RUNNING")
            self._client.set_tag(self.run_id, "resumed", "true")
            return 1
        run = self._client.create_run(self.experiment_id, tags=dict(tags), run_name=self.name)
        self.run_file.parent.mkdir(parents=True, exist_ok=True)
        self.run_file.write_text(json.dumps({"run_id": run.info.run_id}))
        self.run_id = run.info.run_id
        flat = [Param(key, str(value)[:6000]) for key, value in parameters.items()]
        self._client.log_batch(self.run_id, params=flat)
        source = json.dumps({"uri": dataset["source"]})
        data = Dataset(dataset["name"], dataset["digest"][:DIGEST_LENGTH], "local", source)
        self._client.log_inputs(self.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        return 1

    def _send(self) -> int:
        with self._lock:
            waiting, self._metrics = self._metrics, []
        if not waiting:
            return 0
        if self.run_id is None:
            raise ConnectionError("the run could not be created")
        from mlflow.entities import Metric

        try:
            while waiting:
                some = [Metric(name, float(value), at, step) for name, value, at, step in waiting[:BATCH]]
                self._client.log_batch(self.run_id, metrics=some)
                waiting = waiting[BATCH:]
        finally:
            with self._lock:
                self._metrics = waiting + self._metrics
        return 1


def _system(process: psutil.Process) -> dict[str, float]:
    values = {
        "system/process_cpu_percent": process.cpu_percent(),
        "system/process_memory_mb": process.memory_info().rss / 2**20,
        "system/memory_percent": psutil.virtual_memory().percent,
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        values["system/gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return values


def open_store(store: Path, experiment: str) -> tuple[str, str]:
    """URI and id of an experiment in a store written by ``prepare``.

    Raises:
        JetloomError: not such a file, or the experiment is not in it.
    """
    try:
        content = json.loads(store.read_text())
        return content["uri"] or choose_uri(None, store.parent), content["experiments"][experiment]
    except FileNotFoundError:
        raise JetloomError(f"{store}: no such store; `jetloom mlflow init` writes one") from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise JetloomError(
            f"{store}: experiment {experiment!r} is not in this store; run `jetloom mlflow init` again"
        ) from None


def run_tags(run: Mapping[str, Any], rule: str, data_digest: str) -> dict[str, str]:
    """Tags of a training: what it is, from which commit and data, in which job."""
    state = git()
    tags = {
        "experiment": run["experiment"],
        "dataset": run["dataset"],
        "model": run["model"],
        "seed": str(run["seed"]),
        "snakemake.rule": rule,
        "data.digest": data_digest,
        "git.commit": state["commit"] or "unknown",
        "git.dirty": str(state["dirty"]).lower(),
        "job": os.environ.get("SLURM_JOB_ID", str(os.getpid())),
    }
    # MLflow's own name, which its UI shows in a column.
    return tags | ({"mlflow.source.git.commit": state["commit"]} if state["commit"] else {})


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def log_evaluation(uri: str, run_id: str, values: Mapping[str, float], artifacts: list[Path]) -> bool:
    """Add figures and files to the run of a training.

    Returns:
        Whether the server took them; if not, one warning is printed.
    """
    try:
        client = _client(uri)
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        client.log_batch(run_id, metrics=[Metric(name, float(value), now, 0) for name, value in values.items()])
        for path in artifacts:
            client.log_artifact(run_id, str(path))
    except Exception as error:
        print(
            f"MLflow at {masked(uri)}: {masked(str(error).splitlines()[0])}; the figures are in the files only",
            file=sys.stderr,
        )
        return False
    return True


def ui(uri: str | None, directory: Path, port: int) -> None:
    """Serve the MLflow UI of a store on this machine until interrupted.

    Raises:
        JetloomError: there is no store yet.
    """
    chosen = choose_uri(uri, directory)
    if chosen.startswith("http"):
        print(f"The runs are on a server: {masked(chosen)}")
        return
    if chosen == default_uri(directory) and not (directory / "mlflow.db").is_file():
        raise JetloomError(f"{directory / 'mlflow.db'}: no store yet; run the workflow first (`make demo`)")
    print(f"MLflow: http://127.0.0.1:{port}  (store {masked(chosen)}; Ctrl-C ends it)", flush=True)
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["--backend-store-uri", chosen, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execvpe(sys.executable, [sys.executable, "-m", "mlflow", "ui", *arguments], environment)
