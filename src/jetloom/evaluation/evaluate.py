"""Apply a trained model to a split: ``metrics.json``, ``predictions.parquet`` and ``examples.json``."""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from jetloom.catalogue.cards import task_card
from jetloom.config import Evaluation
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from jetloom.evaluation import quantised
from jetloom.evaluation.encoded import asker, encoder
from jetloom.evaluation.examples import examples
from jetloom.evaluation.made_from import evaluation_fingerprint, setting_part
from jetloom.identity.digests import Identity, checksum
from jetloom.models.network import Network
from jetloom.system.allocator import keep_freed
from jetloom.system.device import autocast, gpu_or_cpu
from jetloom.system.environment import versions
from jetloom.system.files import appearing
from jetloom.system.gpu_use import gpu_use
from jetloom.tasks.combined import Combined
from jetloom.tasks.task import Question, Seen, Task
from jetloom.training.checkpoint import CLASSIFIES, load_model, task_of

SCHEMA_VERSION = 1
FILES = ("metrics.json", "predictions.parquet", "examples.json")
ROW_GROUP = 2**18
"""Jets in a row group of predictions.parquet."""
TOGETHER, GATHERERS = 16, 2
"""Batches that a GPU works on before the host waits for their answers; threads that gather the next ones."""
Scored = tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float32]]
"""What the task says (B, K), labels (B,) and observers (B, M) of some jets."""


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
    truth: Path | None = None,
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
        truth: ``manifest.json`` of jets that those of a mixture should be like; they are scored too.
        same_data: refuse a model that was trained on other data than ``manifest`` describes.
        threads: CPU threads; None: as torch chooses.

    An output that was made from the same stays as it is.

    Raises:
        JetloomError: the checkpoint was trained on other classes or features, or is not the one of ``training``; the
            split does not exist or has an empty class; the model's scores are not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed()
    described = Manifest.read(manifest)
    model, saved = load_model(checkpoint)
    _check_fit(checkpoint, saved["manifest"], manifest, described, split)
    like = Manifest.read(truth) if truth else None
    if truth and like:
        _check_fit(checkpoint, saved["manifest"], truth, like, split, only=("features",))
    facts = _read_training(training) if training else {}
    run = facts.get("run") or saved["run"]
    # Other data of the same classes may hold their observers in another order.
    task, chosen = task_of(saved, described.observers), saved.get("tasks", CLASSIFIES)
    _check_origin(checkpoint, saved, facts, manifest, described if same_data else None)
    identity = Identity(
        {
            "training": saved["identity"]["digest"],
            "checkpoint": checksum(checkpoint),
            "data": described.digest,
            "split": split,
            "settings": setting_part(settings, background, working_points),
            "code of the evaluation": evaluation_fingerprint(item["name"] for item in chosen),
        }
        | ({"truth": like.digest} if like else {})
    )
    if settings.quantised:
        quantised.require()
    if _is_made(identity, output):
        print(f"{output}: made from the same model, data, settings and code already; it stays as it is", flush=True)
        return

    # The predictions appear only when figures could be computed from them.
    with appearing(output / "predictions.parquet") as partial:
        with gpu_use() as used:
            batches = score(model, task, manifest, split, settings.batch_size, settings.precision)
            seen = write_predictions(partial, batches, task, described, run, split, identity)
        asked = Question(settings, background, working_points, described.seed)
        seen = seen._replace(
            encode=encoder(model, saved, manifest, split),
            over=asker(model, manifest, split),
            truth=asker(model, truth, split) if truth else None,
        )
        content = merits(chosen, task, seen, asked)
        in_fewer_bits = {
            form: _in_fewer_bits(form, (model, task, saved, manifest, split), chosen, seen, asked, threads)
            for form in settings.quantised
        }
    tracked = facts.get("mlflow") or {}
    content = {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "split": split,
        "task": chosen[0],
        "classes": described.classes,
        **content,
        **({"quantised": in_fewer_bits} if in_fewer_bits else {}),
        "data_digest": described.digest,
        "identity": identity.record(),
        "checkpoint_sha256": identity.parts["checkpoint"],
        "mlflow": tracked,
        "gpu_use": used.summary(),
        "versions": versions(),
    }
    shown = {key: content[key] for key in ("schema_version", "run", "split", "data_digest", "identity")}
    write_json(output / "examples.json", shown | examples(model, task, manifest, split), indent=None)
    write_json(output / "metrics.json", content)


def _in_fewer_bits(
    form: str,
    trained: tuple[Network, Task, Mapping[str, Any], Path, str],
    chosen: Sequence[Mapping[str, Any]],
    seen: Seen,
    asked: Question,
    threads: int | None,
) -> dict[str, Any]:
    """Figures of merit of the main task in a format, and what of them is lost on the same jets; or why not."""
    try:
        made = quantised.quantised(
            form, *trained, batch_size=asked.settings.batch_size, threads=threads or torch.get_num_threads()
        )
    except quantised.Refused as error:
        print(f"evaluation.quantised: {error}", flush=True)
        return {"refused": str(error)}
    task = trained[1]
    # Of several tasks the main one's columns come first.
    width = len((task.members[0].task if isinstance(task, Combined) else task).columns)
    lost = getattr(_measures(chosen[0]["name"]), "lost", None)
    pair = seen.values[:, :width], made.values[:, :width]
    return {
        **made.facts(form),
        "values": merits(chosen, task, seen._replace(values=made.values, truth=None), asked)["values"],
        "lost": lost(*pair, seen.label, asked.settings.confidence) if lost else {},
    }


def merits(chosen: Sequence[Mapping[str, Any]], task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says: figures of merit of the main task and, under ``also``, those of the others.

    Args:
        chosen: name, settings and weight of each task, the main one first.
        task: all of them.
        seen: jets, with what the task says of them.
        asked: how it is to be done.
    """
    if not isinstance(task, Combined):
        return _measure(chosen[0]["name"], task, seen, asked)
    contents, values, truths = [], 0, 0
    for record, member in zip(chosen, task.members, strict=True):
        own = member.task
        to_value, to_truth = values + len(own.columns), truths + len(own.truths)
        part = seen._replace(values=seen.values[:, values:to_value], truths=seen.truths[:, truths:to_truth])
        contents.append({"task": record, **_measure(record["name"], own, part, asked)})
        values, truths = to_value, to_truth
    main, *also = contents
    return main | {"also": also}


def _measure(name: str, task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    said: dict[str, Any] = _measures(name).merit(task, seen, asked)
    return said


def _measures(name: str) -> ModuleType:
    module = task_card(name).measures
    if module is None:
        raise JetloomError(f"task {name} says nothing of a jet that could be evaluated")
    return importlib.import_module(module)


@torch.inference_mode()
def score(
    model: torch.nn.Module, task: Task, manifest: Path, split: str, batch_size: int, precision: str = "32"
) -> Iterator[Scored]:
    """What the task says, labels and observers of a split, batch by batch in the loader's fixed order.

    A GPU is given several batches before the first answer is fetched, and the next ones are gathered meanwhile.

    Args:
        model: trained network.
        task: what it was trained to do.
        manifest: ``manifest.json`` of the tensors.
        split: what is scored.
        batch_size: jets at once.
        precision: of the network on a GPU.
    """
    device = gpu_or_cpu()
    gpu = device.type == "cuda"
    model = model.to(device).eval()
    loader = Loader(manifest, split, batch_size=batch_size, shuffle=False, workers=GATHERERS if gpu else 0, pin=gpu)
    batches = iter(loader)
    while some := list(islice(batches, TOGETHER if gpu else 1)):
        answers = []
        for batch in some:
            with autocast(device, precision):
                answer = task.answer(model, batch.to(device))
            answers.append(task.outputs(answer))
        for values, batch in zip(answers, some, strict=True):
            observers = np.empty((len(values), 0), np.float32) if batch.observers is None else batch.observers.numpy()
            yield values.float().cpu().numpy(), batch.labels.numpy().astype(np.int16), observers


def write_predictions(
    path: Path,
    batches: Iterable[Scored],
    task: Task,
    manifest: Manifest,
    run: dict[str, Any],
    split: str,
    identity: Identity,
) -> Seen:
    """Write jets as they come: columns and truths of the task, ``label`` and the observers.

    The schema's metadata say who made them.

    Args:
        path: file to write.
        batches: all jets of the split.
        task: names the columns.
        manifest: of the tensors.
        run: who made the scores.
        split: what was scored.
        identity: what the evaluation is made from.

    Returns:
        What figures of merit need; the other observers are in the file only.
    """
    facts = {
        "run": run,
        "split": split,
        "classes": manifest.classes,
        "columns": task.columns,
        "data_digest": manifest.digest,
        "identity": identity.record(),
    }
    schema = pa.schema(
        [
            *((name, pa.float32()) for name in [*task.columns, *task.truths]),
            ("label", pa.int16()),
            *((name, pa.float32()) for name in manifest.observers),
        ],
        metadata={"jetloom": json.dumps(facts)},
    )
    jets = manifest.splits[split].jets
    scale = manifest.observers.index(task.scale) if task.scale in manifest.observers else None
    seen = Seen(
        np.empty((jets, len(task.columns)), np.float32),
        np.empty((jets, len(task.truths)), np.float32),
        np.empty(jets, np.int16),
        None if scale is None else np.empty(jets, np.float32),
    )
    begin = end = 0
    waiting: list[NDArray[np.float32]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write_group() -> None:
            observers = np.concatenate(waiting)
            columns = [*seen.values[begin:end].T, *seen.truths[begin:end].T, seen.label[begin:end], *observers.T]
            arrays = [_column(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

        for values, label, observers in batches:
            if len(waiting) and end - begin + len(label) > ROW_GROUP:
                write_group()
                begin, waiting = end, []
            part = slice(end, end + len(label))
            seen.values[part], seen.label[part] = values, label
            seen.truths[part] = task.truth(torch.from_numpy(observers)).numpy()
            if seen.scale is not None:
                seen.scale[part] = observers[:, scale]
            waiting.append(observers)
            end = part.stop
        write_group()
    scales = None if seen.scale is None else seen.scale[:end]
    return Seen(seen.values[:end], seen.truths[:end], seen.label[:end], scales)


_EXACT = {pa.float32(): np.float32, pa.int16(): np.int16}


def _column(values: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """Numbers as they are; to convert them, or to name their type in numpy, pyarrow would import pandas."""
    exact = np.ascontiguousarray(values, dtype=_EXACT[kind])
    return pa.Array.from_buffers(kind, len(exact), [None, pa.py_buffer(exact)])


def write_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Write by atomic rename; a number that is not finite is a mistake of ours and must not get into a result."""
    with appearing(path) as partial:
        partial.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n")


def _read_training(path: Path) -> dict[str, Any]:
    try:
        training: dict[str, Any] = json.loads(path.read_text())
        return training
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


def _check_fit(
    checkpoint: Path,
    trained: dict[str, Any],
    path: Path,
    manifest: Manifest,
    split: str,
    only: Sequence[str] = ("classes", "features"),
) -> None:
    for what in only:
        expected, found = list(trained[what]), list(getattr(manifest, what))
        if expected != found:
            raise JetloomError(
                f"{checkpoint}: trained with {what} {', '.join(expected)}; {path} has {', '.join(found)}; "
                "evaluate it on tensors of the same data set"
            )
    if split not in manifest.splits:
        raise JetloomError(f"{path}: no split {split!r}; allowed: {', '.join(manifest.splits)}")
