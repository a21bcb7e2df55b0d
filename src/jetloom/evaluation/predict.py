"""Apply a trained or published model to any file of a known data format."""

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy
import pyarrow
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from torch import nn

from jetloom.batch import Batch
from jetloom.catalogue.cards import model_card
from jetloom.config import Dataset, resolve_dataset, resolve_tasks
from jetloom.data.prepare.features import FEATURE_SETS
from jetloom.data.read.ahead import ahead, page_locked
from jetloom.data.read.stream import batches
from jetloom.errors import JetloomError
from jetloom.models import build, load_published
from jetloom.models.weights import SUFFIXES
from jetloom.system.allocator import keep_freed
from jetloom.system.device import autocast, gpu_or_cpu
from jetloom.system.files import appearing
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data, Task
from jetloom.training.checkpoint import load_model, task_of


def predict(
    checkpoint: Path,
    raw: Path,
    output: Path,
    *,
    dataset: str | None = None,
    model: str | None = None,
    preset: str | None = None,
    feature_set: str | None = None,
    batch_size: int = 512,
    precision: Literal["32", "tf32", "bf16", "16"] = "32",
    threads: int | None = None,
) -> None:
    """Score every jet of a raw file, in its order, streaming.

    Args:
        checkpoint: ``best.ckpt`` of a training, or a published ``.pt`` or ``.safetensors`` file.
        raw: raw file of a publisher (for meshes the directory of one class and split).
        output: Parquet file with what the task says (``score_<class>``), the observers of the format, and ``label``
            where the file's classes are those of the model. It appears when it is complete.
        dataset: preset that says how ``raw`` is read; default: the data set of the training.
        model: architecture of a published file.
        preset: named size of a published file; default: as published.
        feature_set: inputs of a published file; default: the data set's.
        batch_size: jets scored at once.
        precision: of the network on a GPU.
        threads: CPU threads.

    Raises:
        JetloomError: the file is damaged, the checkpoint does not fit the architecture, or the data set has not the
            features or classes of the model.
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed()
    network, task, settings = _open(checkpoint, dataset, model, preset, feature_set)
    device = gpu_or_cpu()
    network = network.to(device).eval()
    with appearing(output) as partial, ExitStack() as opened:
        writer = None
        jets = batches(settings, raw, batch_size=batch_size)
        if device.type == "cuda":
            jets = ahead((page_locked(batch), observers) for batch, observers in jets)
        for batch, observers in jets:
            values = _values(network, task, batch, device, precision)
            if not numpy.isfinite(values).all():
                raise JetloomError(f"{checkpoint}: scores of {raw} are not finite; the training has diverged")
            columns = dict(zip(task.columns, values.T, strict=True))
            if settings.classes == task.data.classes:
                columns["label"] = batch.labels.numpy().astype(numpy.int16)
            table = pyarrow.table(columns | observers)
            if writer is None:
                writer = opened.enter_context(pyarrow.parquet.ParquetWriter(partial, table.schema, compression="zstd"))
            writer.write_table(table)
        if writer is None:
            raise JetloomError(f"{raw}: no jets")


@torch.inference_mode()
def _values(
    network: nn.Module, task: Task, batch: Batch, device: torch.device, precision: str
) -> NDArray[numpy.float32]:
    with autocast(device, precision):
        answer = task.answer(network, batch.to(device))
    values: NDArray[numpy.float32] = task.outputs(answer).float().cpu().numpy()
    return values


def _open(
    checkpoint: Path, dataset: str | None, model: str | None, preset: str | None, feature_set: str | None
) -> tuple[nn.Module, Task, Dataset]:
    """The network, its task, and how the file is read for it."""
    if checkpoint.suffix in SUFFIXES:
        if model is None or dataset is None:
            raise JetloomError(f"{checkpoint}: a published file names neither; give --model and --dataset")
        settings = resolve_dataset(dataset, {"feature_set": feature_set} if feature_set else {}, dataset)
        n_features = len(FEATURE_SETS[settings.feature_set])
        sizes = {"n_features": n_features, "n_classes": len(settings.classes)}
        network = build(model, preset=preset, max_particles=settings.max_particles, **sizes)
        print(load_published(network, checkpoint))
        return network, make(resolve_tasks(None, "task"), Data(settings.classes, [])), settings
    network, saved = load_model(checkpoint)
    trained = saved["manifest"]
    name = dataset or trained["dataset"]
    # What the model was trained on decides how its inputs are made.
    keys = ("feature_set", "max_particles", "buckets", "seed")
    settings = resolve_dataset(name, {key: trained[key] for key in keys}, name)
    if settings.kind != trained["kind"]:
        needs = " or ".join(model_card(saved["model"]).inputs)
        raise JetloomError(f"{checkpoint}: trained on {trained['kind']} ({needs}); {name} holds {settings.kind}")
    if set(trained["classes"]) <= set(settings.classes):
        settings = settings.model_copy(update={"classes": trained["classes"]})
    return network, task_of(saved), settings
