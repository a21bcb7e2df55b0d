"""Batches straight from a raw file, without skims and shards: for predictions on new data."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import awkward
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from jetloom.batch import Batch
from jetloom.config import Dataset
from jetloom.data.prepare.features import RAW_COLUMNS
from jetloom.data.prepare.padding import Jets, flatten, observer_names, slots
from jetloom.errors import JetloomError


def batches(
    dataset: Dataset, raw: Path, *, batch_size: int = 512, chunk: int = 20_000
) -> Iterator[tuple[Batch, dict[str, NDArray[np.float32]]]]:
    """All jets of a raw file in the order of the file, made ready as the tensors are; no selection is applied.

    To score with a trained model, give it the model's own inputs: ``dataset.model_copy(update={"feature_set": ...,
    "max_particles": ..., "buckets": ..., "classes": ...})`` with what its checkpoint says.

    Args:
        dataset: source, classes, feature set, longest jet and buckets.
        raw: raw file, or directory of meshes of one class.
        batch_size: jets per batch; the last one of a chunk may be smaller.
        chunk: jets read at once; bounds the memory.

    Yields:
        The batch, on the CPU, padded to the smallest bucket that holds its longest jet, with the label -1 for a class
        that is not among ``dataset.classes``; and observers by name, (B,) float32 each.

    Raises:
        JetloomError: what the source finds wrong with the file, or a column that the feature set needs and it has not.
    """
    source = importlib.import_module(f"jetloom.data.sources.{dataset.source}")
    for jets in source.chunks(raw, dataset, chunk):
        if missing := [name for name in RAW_COLUMNS[dataset.feature_set] if name not in jets.fields]:
            raise JetloomError(
                f"{raw}: no column {', '.join(missing)}, which feature set {dataset.feature_set} needs; take a model "
                "trained on another one"
            )
        for start in range(0, len(jets), batch_size):
            some = jets[start : start + batch_size]
            table = awkward.to_arrow_table(awkward.to_packed(some), extensionarray=False, list_to32=True)
            yield _padded(dataset, table)


def _padded(dataset: Dataset, table: pa.Table) -> tuple[Batch, dict[str, NDArray[np.float32]]]:
    jets: Jets = flatten(table, dataset.kind, dataset.feature_set, dataset.max_particles)
    widths = dataset.buckets or [dataset.max_particles]
    width = widths[int(np.searchsorted(widths, jets.length.max()))]
    row, slot = np.repeat(np.arange(len(jets.length)), jets.length), slots(jets.length)

    def padded(values: NDArray[np.float32]) -> torch.Tensor:
        result = np.zeros((len(jets.length), width, values.shape[1]), dtype=np.float32)
        result[row, slot] = values
        return torch.from_numpy(result)

    batch = Batch(
        padded(jets.features),
        None if jets.vectors is None else padded(jets.vectors),
        padded(jets.coordinates),
        torch.arange(width) < torch.from_numpy(jets.length).unsqueeze(1),
        torch.from_numpy(jets.label),
    )
    names = observer_names(table.column_names)
    return batch, {name: jets.observers[:, index] for index, name in enumerate(names)}
