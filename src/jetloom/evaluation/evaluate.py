"""Score a split with a trained model: ``metrics.json``, ``predictions.parquet`` and ``examples.json``."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from jetloom.config import Evaluation
from jetloom.data.loader import Loader
from jetloom.data.manifest import Manifest
from jetloom.environment import versions
from jetloom.errors import JetloomError
from jetloom.evaluation.examples import examples
from jetloom.evaluation.figures_of_merit import figures_of_merit
from jetloom.files import appearing
from jetloom.gpu_use import gpu_use
from jetloom.training.checkpoint import load_model

SCHEMA_VERSION = 1


def evaluate(
    checkpoint: Path,
    manifest: Path,
    output: Path,
    *,
    split: str = "test",
    settings: Evaluation,
    training: Path | None = None,
    threads: int | None = None,
) -> None:
    """Score every jet of a split, write predictions and figures of merit.

    Args:
        checkpoint: ``best.ckpt`` of a training.
        manifest: ``manifest.json`` of the tensors.
        output: directory of ``metrics.json``, ``predictions.parquet`` and ``examples.json`` (a few jets and what the
            model looks at in them, for the report).
        split: split to score.
        settings: batch size, bootstrap samples and coverage.
        training: ``training.json`` of the same training; names its MLflow run.
        threads: CPU threads; None: as torch chooses.

    Raises:
        JetloomError: the checkpoint was trained on other classes or features, the split does not exist or has an empty
            class, the model's scores are not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    described = Manifest.read(manifest)
    model, saved = load_model(checkpoint)
    _check_fit(checkpoint, saved["manifest"], manifest, described, split)
    facts = _read_training(training) if training else {}
    run = facts.get("run") or saved["run"]

    with gpu_use() as used:
        scores, label, observers = score(model, manifest, split, settings.batch_size)
    content = figures_of_merit(
        scores,
        label,
        classes=described.classes,
        background=described.background,
        working_points=described.working_points,
        resamplings=settings.bootstrap,
        confidence=settings.confidence,
        efficiencies=settings.efficiencies,
        mean_rejection=settings.mean_rejection,
        seed=described.seed,
    )
    tracked = facts.get("mlflow") or {}
    content = {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "split": split,
        "classes": described.classes,
        "background": described.background,
        **content,
        "data_digest": described.digest,
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "mlflow": tracked,
        "gpu_use": used.summary(),
        "versions": versions(),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_predictions(output / "predictions.parquet", scores, label, observers, described, run, split)
    shown = {key: content[key] for key in ("schema_version", "run", "split", "data_digest")}
    write_json(output / "examples.json", shown | examples(model, manifest, split), indent=None)
    write_json(output / "metrics.json", content)


@torch.inference_mode()
def score(
    model: torch.nn.Module, manifest: Path, split: str, batch_size: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Softmax scores (N, C), labels (N,) and observers (N, O) of a split, in the loader's fixed order."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    scores, labels, observed = [], [], []
    for batch, observers in Loader(manifest, split, batch_size=batch_size, shuffle=False, observers=True):
        on_device = type(batch)(*(part.to(device) if part is not None else None for part in batch))
        scores.append(model(on_device).float().softmax(dim=1).cpu().numpy())
        labels.append(batch.label.numpy())
        observed.append(observers.numpy())
    return np.concatenate(scores), np.concatenate(labels), np.concatenate(observed)


def write_predictions(
    path: Path,
    scores: NDArray[np.float32],
    label: NDArray[np.int64],
    observers: NDArray[np.float32],
    manifest: Manifest,
    run: dict[str, Any],
    split: str,
) -> None:
    """Columns ``score_<class>``, ``label`` and the observers; who made them is in the schema's metadata."""
    columns = {f"score_{name}": scores[:, index] for index, name in enumerate(manifest.classes)}
    columns["label"] = label.astype(np.int16)
    columns |= {name: observers[:, index] for index, name in enumerate(manifest.observers)}
    facts = {
        "run": run,
        "split": split,
        "classes": manifest.classes,
        "background": manifest.background,
        "data_digest": manifest.digest,
    }
    table = pa.table(columns).replace_schema_metadata({"jetloom": json.dumps(facts)})
    with appearing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def write_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Write by atomic rename; a number that is not finite is a mistake of ours and must not get into a result."""
    with appearing(path) as partial:
        partial.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n")


def _read_training(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise JetloomError(f"{path}: not the training.json of `jetloom train` ({error})") from None


def _check_fit(checkpoint: Path, trained: dict[str, Any], path: Path, manifest: Manifest, split: str) -> None:
    for what in ("classes", "features"):
        expected, found = list(trained[what]), list(getattr(manifest, what))
        if expected != found:
            raise JetloomError(
                f"{checkpoint}: trained with {what} {', '.join(expected)}; {path} has {', '.join(found)}; "
                "evaluate it on tensors of the same data set"
            )
    if split not in manifest.splits:
        raise JetloomError(f"{path}: no split {split!r}; allowed: {', '.join(manifest.splits)}")
