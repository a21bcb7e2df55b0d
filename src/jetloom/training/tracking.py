"""MLflow: one run per training, fed from a thread of its own, so that no server can stop or slow a training."""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from jetloom.environment import git
from jetloom.masking import masked
from jetloom.tracking.store import open_client, patiently, reason, unmasked

PERIOD = 1.0
"""Seconds between two batches of metrics."""
PAUSE = 30.0
"""Seconds before a server that failed is tried again."""
SYSTEM_PERIOD = 5.0
CLOSE_TIMEOUT = 60.0
"""Seconds that the end of a training waits for the last uploads; for a server that had failed before, a quarter."""
DIGEST_LENGTH = 36
"""Longest digest that MLflow takes."""
BATCH = 500
KEPT = 100_000
"""Points that wait for a dead server."""


class DataInput(NamedTuple):
    """What MLflow is told of the data."""

    name: str
    digest: str
    source: str
    jets: int


class Tracker:
    """One MLflow run, written by a thread; what a dead server does not take waits for it, and is counted at the end.

    Args:
        uri: tracking server or database.
        experiment_id: of the experiment.
        name: of the run.
        run_file: JSON file that keeps the run's id, so that a resumed training goes on in its own run.
        parameters: the resolved configuration, flat.
        tags: searchable facts.
        data: the data set.
    """

    def __init__(
        self,
        uri: str,
        experiment_id: str,
        name: str,
        run_file: Path,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        data: DataInput,
    ) -> None:
        self.uri, self.experiment_id, self.name, self.run_file = uri, experiment_id, name, run_file
        self.parameters, self.tags, self.data = parameters, tags, data
        self.run_id: str | None = None
        self._client: Any = None
        self._described = self._failing = self._warned = False
        self._points: deque[tuple[str, Any, int, int]] = deque()
        self._files: deque[Path] = deque()
        self._dropped = 0
        self._status: str | None = None
        self._closing = threading.Event()
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._began = time.time()
        self._sampled = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Points and files that are not in the store."""
        return self._dropped + len(self._points) + len(self._files)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Take down metrics, numbers or scalar tensors; they are sent soon."""
        now = time.time_ns() // 1_000_000
        for name, value in values.items():
            if len(self._points) < KEPT:
                self._points.append((name, value, now, step))
            else:
                self._dropped += 1

    def artifact(self, path: Path) -> None:
        """Keep a copy of a file with the run."""
        self._files.append(path)

    def close(self, status: str) -> None:
        """Send what is left and end the run; waits for a slow server, but not long."""
        self._status = status
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT / 4 if self._failing else CLOSE_TIMEOUT)
        if self._thread.is_alive():
            self._warn("it did not answer in time")

    def _work(self) -> None:
        while True:
            closing = self._closing.wait(PAUSE if self._failing else PERIOD)
            if closing or time.monotonic() - self._sampled > SYSTEM_PERIOD:
                self._sampled = time.monotonic()
                self.log(_system(self._process), int(time.time() - self._began))
            try:
                self._open()
                self._send()
                self._failing = False
                if closing:
                    self._send_files()
                    patiently(self._client.set_terminated, self.run_id, self._status)
            except Exception as error:
                # Whatever a server, a driver or a full disk raises: the training must not feel it.
                self._failing = True
                self._warn(reason(error))
            if closing:
                return

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            print(
                f"MLflow at {masked(self.uri)}: {why}; the training goes on, training.json counts what is not sent",
                file=sys.stderr,
                flush=True,
            )

    def _open(self) -> None:
        """Find or make the run; say in it what is trained, unless it has been said."""
        if self._described:
            return
        self._client = self._client or open_client(self.uri)
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        if self.run_id is None and self.run_file.is_file():
            found = json.loads(self.run_file.read_text())
            self.run_id, self._began = found["run_id"], found["began"]
            patiently(self._client.update_run, self.run_id, status="RUNNING")
            patiently(self._client.set_tag, self.run_id, "resumed", "true")
        if self.run_id is None:
            run = patiently(self._client.create_run, self.experiment_id, tags=dict(self.tags), run_name=self.name)
            partial = self.run_file.with_name(f".{self.run_file.name}.partial")
            partial.write_text(json.dumps({"run_id": run.info.run_id, "began": self._began}))
            os.replace(partial, self.run_file)
            self.run_id = run.info.run_id
        run = patiently(self._client.get_run, self.run_id)
        missing = [
            Param(key, str(value)[:6000]) for key, value in self.parameters.items() if key not in run.data.params
        ]
        patiently(self._client.log_batch, self.run_id, params=missing)
        if not run.inputs.dataset_inputs:
            data = Dataset(
                self.data.name,
                self.data.digest[:DIGEST_LENGTH],
                "local",
                json.dumps({"uri": self.data.source}),
                profile=json.dumps({"num_rows": self.data.jets}),
            )
            inputs = [DatasetInput(data, [InputTag("mlflow.data.context", "training")])]
            patiently(self._client.log_inputs, self.run_id, inputs)
        self._described = True

    def _send(self) -> None:
        from mlflow.entities import Metric

        while waiting := [self._points[index] for index in range(min(BATCH, len(self._points)))]:
            metrics = [Metric(name, float(value), at, step) for name, value, at, step in waiting]
            patiently(self._client.log_batch, self.run_id, metrics=metrics)
            for _ in waiting:
                self._points.popleft()

    def _send_files(self) -> None:
        while self._files:
            patiently(self._client.log_artifact, self.run_id, str(self._files[0]))
            self._files.popleft()


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
    if "***" in uri:
        # What is written in files has no password; the environment has.
        uri = os.environ.get("MLFLOW_TRACKING_URI", uri)
    try:
        client = open_client(unmasked(uri))
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, float(value), now, 0) for name, value in values.items()]
        patiently(client.log_batch, run_id, metrics=metrics)
        for path in artifacts:
            patiently(client.log_artifact, run_id, str(path))
    except Exception as error:
        print(f"MLflow at {masked(uri)}: {reason(error)}; the figures are in the files only", file=sys.stderr)
        return False
    return True
