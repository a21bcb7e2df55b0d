"""Put figures of merit, cost, predictions and figures into the MLflow runs of the trainings they belong to."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def track(metrics: Sequence[Path], costs: Sequence[Path], figures: Path | None, output: Path) -> None:
    """Log everything that was made after the trainings, in one go: MLflow takes seconds to load.

    Args:
        metrics: ``metrics.json`` of evaluations, ``predictions.parquet`` beside each; runs not tracked are passed
            over.
        costs: ``cost.json`` of the models.
        figures: directory of the report's figures, one directory in it for each data set.
        output: JSON file that lists the runs that took the figures and those that did not.
    """
    measured = {(cost["run"]["dataset"], cost["run"]["model"]): (path, cost) for path, cost in map(_read, costs)}
    sent: dict[str, list[str]] = {"sent": [], "not_sent": []}
    for path, evaluated in map(_read, metrics):
        tracked = evaluated.get("mlflow") or {}
        if not tracked.get("run_id"):
            continue
        from jetloom.training.tracking import log_evaluation

        run = evaluated["run"]
        values = flat_metrics(evaluated["values"], evaluated["split"])
        artifacts = [path, path.with_name("predictions.parquet")]
        if (run["dataset"], run["model"]) in measured:
            cost_path, cost = measured[run["dataset"], run["model"]]
            values |= flat_cost(cost)
            artifacts.append(cost_path)
        if figures is not None:
            artifacts += sorted((figures / run["dataset"]).glob("*.png"))
        done = log_evaluation(tracked["uri"], tracked["run_id"], values, artifacts)
        sent["sent" if done else "not_sent"].append(tracked["run_id"])
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    partial.write_text(json.dumps(sent, indent=1))
    os.replace(partial, output)


def flat_metrics(values: dict[str, Any], split: str) -> dict[str, float]:
    """Figures of merit as MLflow metrics: ``test/accuracy``, ``test/auc``, ``test/rej50_Hbb``, ``test/rej99.5_Tbl``."""
    flat = {f"{split}/{name}": values[name]["value"] for name in ("accuracy", "auc", "loss")}
    for name, rejection in (values.get("rejection") or {}).items():
        flat[f"{split}/rej{100 * rejection['efficiency']:g}_{name}"] = rejection["value"]
    return {name: value for name, value in flat.items() if value is not None}


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
