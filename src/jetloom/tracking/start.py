"""The training that another one starts from, and how their runs in a store say so."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jetloom.tracking.store import patiently
from jetloom.tracking.views import NOTE

KEY = "jetloom.key"
"""Tag made before the run: whoever was cut off in the middle finds the same run by it."""
STARTED_FROM = "started_from"
"""Tag: id of the run whose weights a training starts from."""


class Start(NamedTuple):
    """A training whose weights another one starts from."""

    model: str
    """``<data set>/<model>``, the same for all its seeds."""
    seed: int
    experiment: str | None
    """Name of its MLflow experiment; None: it was not tracked."""
    key: str | None
    """Of its run."""


def start_of(weights: Path, sha256: str) -> Start | None:
    """What made some weights, as the ``training.json`` beside them says it.

    Args:
        weights: ``best.ckpt`` of a training, or any other file.
        sha256: of its content.

    Returns:
        None: no training is known to have made them.
    """
    try:
        facts = json.loads(weights.with_name("training.json").read_text())
        if facts["checkpoint_sha256"] != sha256:
            return None
        run, tracked = facts["run"], facts["mlflow"] or {}
        model = f"{run['dataset']}/{run['model']}"
        return Start(model, run["seed"], tracked.get("experiment"), tracked.get("key"))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def start_of_training(training: Mapping[str, Any]) -> Start | None:
    """The same of a training that has ended.

    Args:
        training: its ``training.json``.
    """
    weights = training.get("training", {}).get("initial_weights")
    made_from = (training.get("identity") or {}).get("made_from", {})
    return start_of(Path(weights), made_from.get("starting weights", "")) if weights else None


def find_run(client: Any, experiment: str, key: str) -> str | None:
    """Id of the run of a key, if the store has it."""
    found = patiently(client.search_runs, [experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def link(client: Any, run_id: str, start: Start) -> None:
    """Lead from a run to the one that it starts from, and from there to all that do; once.

    Nothing is done as long as the store has no run of the start.

    Raises:
        Exception: whatever MLflow, its driver or the network raise.
    """
    own = patiently(client.get_run, run_id)
    if STARTED_FROM in own.data.tags or start.experiment is None or start.key is None:
        return
    experiment = patiently(client.get_experiment_by_name, start.experiment)
    other = find_run(client, experiment.experiment_id, start.key) if experiment else None
    if other is None:
        return
    # Of several that start at once each writes the same into the description of the other run.
    those = f"#/experiments/{own.info.experiment_id}/runs?searchFilter=" + quote(f"tags.{STARTED_FROM} = '{other}'")
    _note(client, other, f"[Trainings on {own.data.tags.get('dataset')} that start from it]({those})")
    address = f"#/experiments/{experiment.experiment_id}/runs/{other}"
    _note(client, run_id, f"Started from [{start.model}, seed {start.seed}]({address}).")
    patiently(client.set_tag, run_id, STARTED_FROM, other)


def _note(client: Any, run_id: str, line: str) -> None:
    """Add a line to the description of a run."""
    said = patiently(client.get_run, run_id).data.tags.get(NOTE, "")
    if line not in said:
        patiently(client.set_tag, run_id, NOTE, "\n\n".join(filter(None, [said, line])))
