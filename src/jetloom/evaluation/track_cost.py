"""Put the measured cost of an architecture into the MLflow runs of its trainings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def log_cost(cost: Path, training: Sequence[Path]) -> None:
    """Log ``cost/...`` metrics and ``cost.json`` into the run of each training.

    Args:
        cost: ``cost.json``.
        training: ``training.json`` of trainings of the same architecture on the same data set; those that were not
            tracked are passed over.
    """
    values = flat_cost(json.loads(cost.read_text()))
    for path in training:
        tracked = json.loads(path.read_text()).get("mlflow") or {}
        if tracked.get("run_id"):
            from jetloom.training.tracking import log_evaluation

            log_evaluation(tracked["uri"], tracked["run_id"], values, [cost])


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
