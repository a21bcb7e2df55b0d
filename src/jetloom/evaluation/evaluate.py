"""Score a split with a trained model: ``metrics.json``, ``predictions.parquet`` and ``examples.json``."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from jetloom.config import Evaluation
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from jetloom.evaluation.examples import examples
from jetloom.evaluation.made_from import CODE, setting_part
from jetloom.identity.code import fingerprint
from jetloom.identity.digests import Identity, checksum
from jetloom.system.environment import versions
from jetloom.system.files import appearing
from jetloom.system.gpu_use import gpu_use
from jetloom.tasks.classification.measure import figures_of_merit
from jetloom.training.checkpoint import load_model

SCHEMA_VERSION = 1
FILES = ("metrics.json", "predictions.parquet", "examples.json")
ROW_GROUP = 2**18
"""Jets in a row group of predictions.parquet."""
Scored = tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float32]]
"""Scores (B, C), labels (B,) and observers (B, O) of some jets."""


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

    # The predictions appear only when figures could be computed from them.
    with appearing(output / "predictions.parquet") as partial:
        with gpu_use() as used:
            batches = score(model, manifest, split, settings.batch_size)
            scores, label = write_predictions(partial, batches, described, run, split, identity)
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
    shown = {key: content[key] for key in ("schema_version", "run", "split", "data_digest", "identity")}
    write_json(output / "examples.json", shown | examples(model, manifest, split), indent=None)
    write_json(output / "metrics.json", content)


@torch.inference_mode()
def score(model: torch.nn.Module, manifest: Path, split: str, batch_size: int) -> Iterator[Scored]:
    """Softmax scores, labels and observers of a split, batch by batch in the loader's fixed order."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    for batch, observers in Loader(manifest, split, batch_size=batch_size, shuffle=False, observers=True):
        on_device = type(batch)(*(part.to(device) if part is not None else None for part in batch))
        scores = model(on_device).float().softmax(dim=1).cpu().numpy()
        yield scores, batch.label.numpy().astype(np.int16), observers.numpy()


def write_predictions(
    path: Path, batches: Iterable[Scored], manifest: Manifest, run: dict[str, Any], split: str, identity: Identity
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Write jets as they come: ``score_<class>``, ``label`` and the observers; the schema's metadata say who made them.

    Args:
        path: file to write.
        batches: all jets of the split.
        manifest: of the tensors.
        run: who made the scores.
        split: what was scored.
        identity: what the evaluation is made from.

    Returns:
        scores (N, C) and labels (N,); the observers are in the file only.
    """
    facts = {
        "run": run,
        "split": split,
        "classes": manifest.classes,
        "data_digest": manifest.digest,
        "identity": identity.record(),
    }
    schema = pa.schema(
        [
            *((f"score_{name}", pa.float32()) for name in manifest.classes),
            ("label", pa.int16()),
            *((name, pa.float32()) for name in manifest.observers),
        ],
        metadata={"jetloom": json.dumps(facts)},
    )
    jets = manifest.splits[split].jets
    scores, label = np.empty((jets, len(manifest.classes)), np.float32), np.empty(jets, np.int16)
    begin = end = 0
    waiting: list[NDArray[np.float32]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write_group() -> None:
            observers = np.concatenate(waiting)
            columns = [*scores[begin:end].T, label[begin:end], *observers.T]
            writer.write_table(pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema))

        for some_scores, some_label, observers in batches:
            if len(waiting) and end - begin + len(some_label) > ROW_GROUP:
                write_group()
                begin, waiting = end, []
            part = slice(end, end + len(some_label))
            scores[part], label[part] = some_scores, some_label
            waiting.append(observers)
            end = part.stop
        write_group()
    return scores[:end], label[:end]


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
        contents = [json.loads((output / name).read_text()) for name in ("metrics.json", "examples.json")]
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
