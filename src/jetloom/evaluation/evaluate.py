"""Score a split with a trained model: ``metrics.json``, ``predictions.parquet`` and ``examples.json``."""

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
from jetloom.evaluation.made_from import CODE, setting_part
from jetloom.files import appearing
from jetloom.fingerprint import fingerprint
from jetloom.gpu_use import gpu_use
from jetloom.identity import Identity, checksum
from jetloom.training.checkpoint import load_model

SCHEMA_VERSION = 1
FILES = ("metrics.json", "predictions.parquet", "examples.json")


def evaluate(
    checkpoint: Path,
    manifest: Path,
    output: Path,
    *,
    split: str = "test",
    settings: Evaluation,
    background: str | None,
    working_points: dict[str, float],
    training: Path | None = None,
    same_data: bool = False,
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
        background: class against which rejections are quoted; None: all the others.
        working_points: signal efficiency for each signal class that has one.
        training: ``training.json`` of the same training; names its MLflow run.
        same_data: refuse a model that was trained on other data than ``manifest`` describes.
        threads: CPU threads; None: as torch chooses.

    An output that was made from the same stays as it is.

    Raises:
        JetloomError: the checkpoint was trained on other classes or features, or is not the one of ``training``; the
            split does not exist or has an empty class; the model's scores are not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    described = Manifest.read(manifest)
    model, saved = load_model(checkpoint)
    _check_fit(checkpoint, saved["manifest"], manifest, described, split)
    facts = _read_training(training) if training else {}
    run = facts.get("run") or saved["run"]
    _check_origin(checkpoint, saved, facts, manifest, described if same_data else None)
    identity = Identity(
        {
            "training": saved["identity"]["digest"],
            "checkpoint": checksum(checkpoint),
            "data": described.digest,
            "split": split,
            "settings": setting_part(settings, background, working_points),
            "code of the evaluation": fingerprint(CODE, without="jetloom.models"),
        }
    )
    if _is_made(identity, output):
        print(f"{output}: made from the same model, data, settings and code already; it stays as it is", flush=True)
        return

    with gpu_use() as used:
        scores, label, observers = score(model, manifest, split, settings.batch_size)
    content = figures_of_merit(
        scores,
        label,
        classes=described.classes,
        background=background,
        working_points=working_points,
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
        "background": background,
        **content,
        "data_digest": described.digest,
        "identity": identity.record(),
        "checkpoint_sha256": identity.parts["checkpoint"],
        "mlflow": tracked,
        "gpu_use": used.summary(),
        "versions": versions(),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_predictions(output / "predictions.parquet", scores, label, observers, described, run, split, identity)
    shown = {key: content[key] for key in ("schema_version", "run", "split", "data_digest", "identity")}
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
    identity: Identity,
) -> None:
    """Columns ``score_<class>``, ``label`` and the observers; who made them is in the schema's metadata."""
    columns = {f"score_{name}": scores[:, index] for index, name in enumerate(manifest.classes)}
    columns["label"] = label.astype(np.int16)
    columns |= {name: observers[:, index] for index, name in enumerate(manifest.observers)}
    facts = {
        "run": run,
        "split": split,
        "classes": manifest.classes,
        "data_digest": manifest.digest,
        "identity": identity.record(),
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


def _is_made(identity: Identity, output: Path) -> bool:
    """Whether a directory holds this evaluation, all of it."""
    if not all((output / name).is_file() for name in FILES):
        return False
    try:
        records = [
            json.loads((output / name).read_text()).get("identity") for name in ("metrics.json", "examples.json")
        ]
        described = pq.read_schema(output / "predictions.parquet").metadata or {}
        contents.append(json.loads(described[b"jetloom"]))
    except (ValueError, KeyError, OSError, pa.ArrowException):
        return False
    return not any(identity.other_parts(content.get("identity")) for content in contents)


def _check_origin(
    checkpoint: Path, saved: dict[str, Any], training: dict[str, Any], manifest: Path, described: Manifest | None
) -> None:
    """A checkpoint, what is said of it, and the data belong together."""
    own = saved.get("identity")
    if own is None:
        raise JetloomError(f"{checkpoint}: does not say what it was made from (an earlier version); train it again")
    if training and (training.get("identity") or {}).get("digest") != own["digest"]:
        raise JetloomError(f"{checkpoint}: training.json is of another training than this checkpoint; train it again")
    if described and saved["manifest"]["digest"] != described.digest:
        raise JetloomError(
            f"{checkpoint}: trained on data {saved['manifest']['digest'][:12]}, but {manifest} describes "
            f"{described.digest[:12]}; train it again on these"
        )


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
