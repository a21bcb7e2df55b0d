"""A run in a store: found or made, described, filled, ended. Whatever is done twice has the effect of once."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jetloom.tracking.description import DIGEST_LENGTH, Description
from jetloom.tracking.start import KEY, find_run, link
from jetloom.tracking.store import experiment_id, patiently, turns
from jetloom.tracking.views import NOTE

BATCH = 1000
"""Points of one call, the most that MLflow takes."""
CONFIG = "config.sha"
"""Tag: what all seeds of a parent have in common."""
LEVEL = "jetloom.level"
"""Tag: ``model`` of a parent, ``seed`` of a training."""


class Point(NamedTuple):
    """One value of a metric; milliseconds since 1970."""

    name: str
    value: float
    at: int
    step: int


class StoredRun:
    """A run in a store, with its parent.

    Args:
        client: of MLflow.
        description: of the run.
        key: unique to the run.
        run_id: if it is known.
        experiment: id of the experiment, if it is known.
        lock: file beside which several trainings take turns in making their parent.

    Raises:
        Exception: whatever MLflow, its driver or the network raise; so do the methods.
    """

    def __init__(
        self,
        client: Any,
        description: Description,
        key: str,
        *,
        run_id: str | None = None,
        experiment: str | None = None,
        lock: Path | None = None,
    ) -> None:
        self.client, self.description, self.key, self.lock = client, description, key, lock
        self.run_id, self.experiment = run_id, experiment
        self.parent: str | None = None

    def open(self, began: int) -> None:
        """Find or make the run; it is running again if it was there. ``began`` is in milliseconds since 1970."""
        if self.experiment is None:
            self.experiment = experiment_id(self.client, self.description.experiment)
        if self.run_id is None:
            self.run_id = find_run(self.client, self.experiment, self.key)
        self.parent = self._find_parent(began)
        if self.run_id is None:
            own = {KEY: self.key, LEVEL: "seed", CONFIG: self.description.config, "mlflow.parentRunId": self.parent}
            tags = self.description.tags | own
            made = patiently(self.client.create_run, self.experiment, began, tags, self.description.name)
            self.run_id = made.info.run_id
        else:
            patiently(self.client.update_run, self.run_id, status="RUNNING")
        patiently(self.client.update_run, self.parent, status="RUNNING")

    def describe(self) -> None:
        """Say in the run what has not been said: parameters, data, texts, what it starts from."""
        run = patiently(self.client.get_run, self.run_id)
        self._log_parameters(self.run_id, self.description.parameters, run.data.params)
        if not run.inputs.dataset_inputs:
            for name, text in self.description.texts.items():
                patiently(self.client.log_text, self.run_id, text, name)
            # Last, since it stands for all of them.
            patiently(self.client.log_inputs, self.run_id, _inputs(self.description))
        if self.description.start and self.run_id:
            link(self.client, self.run_id, self.description.start)

    def send(self, points: Sequence[Point]) -> None:
        """Add values of metrics; what is there already is not added again."""
        from mlflow.entities import Metric

        for start in range(0, len(points), BATCH):
            metrics = [Metric(*point) for point in points[start : start + BATCH]]
            patiently(self.client.log_batch, self.run_id, metrics=metrics)

    def send_file(self, path: Path) -> None:
        """Keep a copy of a file with the run."""
        patiently(self.client.log_artifact, self.run_id, str(path))

    def tag(self, name: str, value: str) -> None:
        """Set a tag."""
        patiently(self.client.set_tag, self.run_id, name, value)

    def end(self, status: str, ended: int | None) -> None:
        """Say how the training ended, ``ended`` in milliseconds since 1970; None: now."""
        for run_id in (self.run_id, self.parent):
            if run_id is not None:
                patiently(self.client.set_terminated, run_id, status, ended)

    def _find_parent(self, began: int) -> str:
        wanted = f"tags.`{LEVEL}` = 'model' and tags.`{CONFIG}` = '{self.description.config}'"
        with turns(self.lock) if self.lock else contextlib.nullcontext():
            found = patiently(
                self.client.search_runs, [self.experiment], wanted, max_results=1, order_by=["attributes.start_time"]
            )
            if found:
                return str(found[0].info.run_id)
            own = {"seed", "snakemake.rule", "snakemake.wildcards", "slurm.job_id", "stage"}
            tags = {name: value for name, value in self.description.tags.items() if name not in own}
            note = f"{tags['title']}: all seeds of one configuration. Its figures are means over the seeds."
            tags |= {LEVEL: "model", CONFIG: self.description.config, NOTE: note}
            made = patiently(self.client.create_run, self.experiment, began, tags, self.description.parent)
            # Each seed may start from another one.
            differing = {"seed", "initial_weights"} if self.description.start else {"seed"}
            shared = {name: value for name, value in self.description.parameters.items() if name not in differing}
            self._log_parameters(made.info.run_id, shared, {})
            return str(made.info.run_id)

    def _log_parameters(self, run_id: str | None, wanted: dict[str, str], known: dict[str, str]) -> None:
        from mlflow.entities import Param

        missing = [Param(name, value) for name, value in wanted.items() if name not in known]
        patiently(self.client.log_batch, run_id, params=missing)


def _inputs(description: Description) -> list[Any]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                given.name,
                given.digest[:DIGEST_LENGTH],
                "local",
                json.dumps({"uri": given.source}),
                profile=json.dumps({"num_rows": given.jets}),
            ),
            [InputTag("mlflow.data.context", given.context)],
        )
        for given in description.inputs
    ]
