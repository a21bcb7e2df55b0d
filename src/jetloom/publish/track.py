"""What was measured after the trainings goes into their MLflow runs; the best of each model is registered."""

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jetloom.catalogue.cards import task_card
from jetloom.config import Monitor, TaskChoice
from jetloom.config.task import DEFAULT
from jetloom.errors import JetloomError
from jetloom.system.files import appearing


class Tracked(NamedTuple):
    """A training whose run took its figures."""

    path: Path
    run: dict[str, Any]
    client: Any
    run_id: str
    parent: str | None
    values: dict[str, float]


def track(
    metrics: Sequence[Path],
    costs: Sequence[Path],
    figures: Path | None,
    output: Path,
    *,
    config: Path | None = None,
    onnx: bool = True,
) -> None:
    """Log everything that was made after the trainings, in one go: MLflow takes seconds to load.

    Args:
        metrics: ``metrics.json`` of evaluations; beside each ``predictions.parquet``, ``training.json``, ``best.ckpt``
            and what the training could not send. Runs not tracked are passed over.
        costs: ``cost.json`` of the models.
        figures: directory of the report's figures, one directory in it for each data set.
        output: JSON file: ``sent`` (run ids), ``not_sent`` (reasons) by training, ``registered`` by model.
        config: the experiment's configuration.
        onnx: register models as ONNX, which takes seconds for each; else as checkpoints.
    """
    measured = {(cost["run"]["dataset"], cost["run"]["model"]): (path, cost) for path, cost in map(_read, costs)}
    told: dict[str, dict[str, Any]] = {"sent": {}, "not_sent": {}, "registered": {}}
    sent: list[Tracked] = []
    clients = None
    for path, evaluated in map(_read, metrics):
        identity = evaluated.get("mlflow") or {}
        if not identity.get("uri"):
            continue
        from jetloom.tracking.store import Clients, reason, unmasked

        clients = clients or Clients()
        run = evaluated["run"]
        name = f"{run['dataset']}/{run['model']}/seed{run['seed']}"
        values, artifacts = flat_metrics(evaluated["values"], evaluated["split"]), [(path, ""), *_beside(path)]
        for other in evaluated.get("also", ()):
            aim = TaskChoice.read(other["task"]).title
            values |= flat_metrics(other["values"], f"{evaluated['split']}/{aim}")
        if (run["dataset"], run["model"]) in measured:
            cost_path, cost = measured[run["dataset"], run["model"]]
            values |= flat_cost(cost)
            artifacts.append((cost_path, ""))
        if figures is not None:
            artifacts += [(file, "figures") for file in sorted((figures / run["dataset"]).glob("*.png"))]
        artifacts += [(config, "experiment")] if config else []
        try:
            client = clients.of(unmasked(identity["uri"]))
            sent.append(_send(client, path, run, identity, values, artifacts))
            told["sent"][name] = sent[-1].run_id
        except Exception as error:
            # What a server or a driver raises has no common class, and no result may depend on it.
            told["not_sent"][name] = reason(error)
            print(f"{name}: {reason(error)}; its figures are in the files only", file=sys.stderr)
    for of_one in _grouped(sent):
        name = f"{of_one[0].run['dataset']}-{of_one[0].run['model']}"
        try:
            _log_means(of_one)
            told["registered"] |= _register(name, of_one, onnx)
        except Exception as error:
            from jetloom.tracking.store import reason

            told["not_sent"][name] = reason(error)
            print(f"{name}: {reason(error)}; it is not registered", file=sys.stderr)
    with appearing(output) as partial:
        partial.write_text(json.dumps(told, indent=1))


def _beside(path: Path) -> list[tuple[Path, str]]:
    files = [path.with_name(name) for name in ("predictions.parquet", "training.json")]
    return [(file, "") for file in files if file.is_file()]


def _send(
    client: Any,
    path: Path,
    run: dict[str, Any],
    identity: dict[str, Any],
    values: dict[str, float],
    artifacts: Sequence[tuple[Path, str]],
) -> Tracked:
    """Figures and files of one training, after what the training itself could not send."""
    from mlflow.entities import Metric, RunTag

    from jetloom.tracking.run import find_run
    from jetloom.tracking.spool import UNSENT
    from jetloom.tracking.store import experiment_id, patiently
    from jetloom.tracking.sync import send

    run_id = identity["run_id"]
    if path.with_name(UNSENT).is_file():
        run_id = send(client, path.with_name(UNSENT))
    elif run_id is None:
        run_id = find_run(client, experiment_id(client, identity["experiment"]), identity["key"])
    if run_id is None:
        raise JetloomError("the store has no run of it, and the training left nothing to make one")
    now = path.stat().st_mtime_ns // 1_000_000
    logged = [Metric(name, float(value), now, 0) for name, value in values.items()]
    patiently(client.log_batch, run_id, metrics=logged, tags=[RunTag("stage", "evaluated")])
    for file, folder in artifacts:
        patiently(client.log_artifact, run_id, str(file), folder or None)
    parent = client.get_run(run_id).data.tags.get("mlflow.parentRunId")
    return Tracked(path, run, client, run_id, parent, values)


def _grouped(sent: Sequence[Tracked]) -> list[list[Tracked]]:
    """Seeds of one model on one data set."""
    groups: dict[tuple[str, str], list[Tracked]] = defaultdict(list)
    for item in sent:
        groups[item.run["dataset"], item.run["model"]].append(item)
    return list(groups.values())


def _log_means(seeds: Sequence[Tracked]) -> None:
    """Mean of every figure over the seeds, and its standard deviation as ``..._spread``, into the parent."""
    from mlflow.entities import Metric, RunTag

    from jetloom.tracking.store import patiently

    if seeds[0].parent is None:
        return
    now = max(item.path.stat().st_mtime_ns for item in seeds) // 1_000_000
    means = {"seeds": float(len(seeds))}
    for name in seeds[0].values:
        values = [item.values[name] for item in seeds if name in item.values]
        means[name] = statistics.fmean(values)
        if len(values) > 1 and not name.startswith("cost/"):
            means[f"{name}_spread"] = statistics.stdev(values)
    logged = [Metric(name, value, now, 0) for name, value in means.items()]
    patiently(seeds[0].client.log_batch, seeds[0].parent, metrics=logged, tags=[RunTag("stage", "evaluated")])


def _register(name: str, seeds: Sequence[Tracked], onnx: bool) -> dict[str, Any]:
    """The seed that was best on the validation split: the test split must not choose."""
    known = []
    for item in seeds:
        training, checkpoint = item.path.with_name("training.json"), item.path.with_name("best.ckpt")
        if training.is_file() and checkpoint.is_file():
            facts = json.loads(training.read_text())
            if task_card(facts.get("task", {}).get("name", DEFAULT)).pretrains:
                continue
            known.append((Monitor(**facts["monitor"]).score(facts["best"]), item, facts, checkpoint))
    if not known:
        return {}
    _, best, facts, checkpoint = max(known, key=lambda entry: entry[0])
    from jetloom.publish.registry import ALIAS, register

    version, champion = register(
        best.client, name, best.run_id, checkpoint, onnx=onnx, figure=facts["best"],
        monitor=Monitor(**facts["monitor"]), data=facts["data_digest"],
    )  # fmt: skip
    return {name: {"version": version, "run_id": best.run_id, ALIAS: champion}}


def flat_metrics(values: dict[str, Any], split: str) -> dict[str, float]:
    """Figures of merit as MLflow metrics: ``test/accuracy``, ``test/auc``, ``test/rej50_Hbb``, ``test/rej99.5_Tbl``."""
    flat = {
        f"{split}/{name}": item["value"] for name, item in values.items() if isinstance(item, dict) and "value" in item
    }
    for name, rejection in (values.get("rejection") or {}).items():
        flat[f"{split}/rej{100 * rejection['efficiency']:g}_{name}"] = rejection["value"]
    return {name: value for name, value in flat.items() if value is not None and math.isfinite(value)}


def flat_cost(content: dict[str, Any]) -> dict[str, float]:
    """Cost as MLflow metrics: ``cost/flops``, ``cost/ms_batch16``, ``cost/ms_128particles``."""
    values = {f"cost/{name}": float(content[name]) for name in ("parameters", "macs", "flops")}
    for point in content["latency"]:
        values[f"cost/ms_batch{point['batch_size']}"] = point["milliseconds"]["median"]
        values[f"cost/jets_per_second_batch{point['batch_size']}"] = point["jets_per_second"]
    for point in content["length_scan"]:
        values[f"cost/ms_{point['particles']}particles"] = point["milliseconds"]["median"]
        if point["peak_memory_mb"] is not None:
            values[f"cost/mb_{point['particles']}particles"] = point["peak_memory_mb"]
    return values


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    return path, json.loads(path.read_text())
