"""Results of regressions that never ran, of known response: Gaussian of mean 1 + bias, narrower at high pT or not."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from jetloom.results.inputs import Inputs
from tests.report.fabricate import fabricate

TARGET = "jet_sdmass"
EDGES = [500, 600, 700, 800, 1000]
WIDTH = {"part": 0.08, "parmat": 0.081, "linformer": 0.12, "salt": 0.10, "transformer": 0.09, "pointnet": 0.15}
"""Standard deviation of the response; half the width of the central 68.27 % of a Gaussian."""
OFFSET = {"salt": 0.03}
TASK = {"name": "regression", "settings": {"target": TARGET, "relative_to": None}}


def regressions(directory: Path, models: list[str], seeds: list[int], jets: int = 4000) -> Inputs:
    """Files of trainings that learn the soft-drop mass of ``jetclass-sim``, and of nothing else."""
    given = fabricate(directory, {"jetclass-sim": models}, seeds, jets=jets)
    for metrics, training, predictions, history in zip(
        given.metrics, given.training, given.predictions, given.histories, strict=True
    ):
        content, facts = json.loads(metrics.read_text()), json.loads(training.read_text())
        for name in ("values", "confusion", "roc", "background"):
            del content[name]
        metrics.write_text(json.dumps(content | {"task": TASK} | learn(predictions, content["run"], keep=False)))
        training.write_text(json.dumps(facts | {"task": TASK}))
        _history(history)
    return replace(given, examples=[])


def learn(predictions: Path, run: dict, keep: bool) -> dict:
    """Add a prediction of the target to a file; ``values`` and ``bins`` of it.

    Args:
        predictions: of an evaluation.
        run: whose it is.
        keep: what is in the file already stays an output; else it goes.
    """
    table = pq.read_table(predictions)
    facts = json.loads(table.schema.metadata[b"jetloom"])
    scores = [name for name in table.column_names if name.startswith("score_")]
    if not keep:
        table = table.drop_columns(scores)
    generator = np.random.default_rng([run["seed"], *run["model"].encode()])
    true, pt = table[TARGET].to_numpy() + 10, table["jet_pt"].to_numpy()
    # The better half of the noise is that of the jet itself: it is common to all models.
    noise = 0.6 * np.random.default_rng(5).normal(size=len(true)) + 0.8 * generator.normal(size=len(true))
    response = 1 + OFFSET.get(run["model"], 0.0) + WIDTH[run["model"]] * noise
    columns = {f"predicted_{TARGET}": response * true, f"true_{TARGET}": true}
    for name, values in columns.items():
        table = table.append_column(name, [values.astype(np.float32)])
    facts["columns"] = [*(scores if keep else []), *columns]
    pq.write_table(table.replace_schema_metadata({"jetloom": json.dumps(facts)}), predictions)
    inside = np.clip(np.searchsorted(EDGES, pt, side="right") - 1, 0, len(EDGES) - 2)
    parts = [response[inside == index] for index in range(len(EDGES) - 1)]
    return {
        "values": {"bias": bias(response), "resolution": resolution(response)},
        "bins": {
            "observer": "jet_pt", "edges": EDGES, "jets": [len(part) for part in parts],
            "bias": [bias(part) for part in parts], "resolution": [resolution(part) for part in parts],
        },
    }  # fmt: skip


def bias(response: np.ndarray) -> dict[str, float]:
    """As in ``metrics.json``; the interval is that of the median of a Gaussian."""
    return _value(np.median(response) - 1, 1.25 * response.std() / np.sqrt(len(response)))


def resolution(response: np.ndarray) -> dict[str, float]:
    """Likewise; the interval is that of the width of a Gaussian from two quantiles."""
    low, high = np.quantile(response, [0.16, 0.84])
    return _value((high - low) / 2, 0.87 * response.std() / np.sqrt(len(response)))


def _value(value: float, error: float) -> dict[str, float]:
    return {"value": float(value), "low": float(value - error), "high": float(value + error)}


def _history(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train_loss", "val_loss", "val_resolution", "learning_rate", "seconds"])
        for epoch in range(12):
            loss = 0.3 * np.exp(-epoch / 4) + 0.1
            writer.writerow([epoch, 62 * (epoch + 1), loss - 0.01, loss, loss / 2, 1e-3, 5 * (epoch + 1)])
