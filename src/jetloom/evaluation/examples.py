"""A few test jets as the network sees them: its order and partitions, and the particles it looks at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import ShardFile
from jetloom.models.network import Looks, Network
from jetloom.tasks.task import Task

DIGITS = 5
QUANTILE = 0.9
"""Jets with many particles show more; this share of the class has fewer or as many."""


@torch.inference_mode()
def examples(model: Network, task: Task, manifest: Path, split: str) -> dict[str, Any]:
    """One jet of each class, the same ones for every model: the first with the number of particles at ``QUANTILE``.

    Args:
        model: trained network, on the CPU or any device.
        task: what it was trained to do.
        manifest: ``manifest.json`` of the tensors.
        split: where the jets are taken from.

    Returns:
        ``looks``: what the weights are, "class token" (weights of the last class-attention block, mean over heads;
        what is missing to 1 the token gives to itself), "pooled output" (last layer of a linear transformer: the
        particles that supply the maximum, followed through attention and projection), or None;
        ``partitions``: number of partitions of the network, or None;
        ``jets``: for each class its name, the row of the jet in predictions.parquet, what is ``given`` to it (a class),
        and for its particles ``coordinates`` (deta, dphi or x, y, z), ``pt`` (GeV, None for clouds), ``partition``,
        ``weight`` and ``pooled`` (share of the channels whose maximum the particle supplies), None where the network
        has no such thing.
    """
    device = next(model.parameters()).device
    described = Manifest.read(manifest)
    result: dict[str, Any] = {"looks": None, "partitions": None, "jets": []}
    if described.kind == "tokens":
        # Codes have no place in a picture.
        return result
    for row, batch in _chosen(manifest, described, split):
        batch = batch.to(device)
        label, given = int(batch.labels), task.said(task.answer(model, batch))
        looks = model.looks(batch) or Looks(batch)
        # Particle by particle in the order in which the network reads them.
        batch, real = looks.batch, looks.batch.mask[0]
        result["looks"], result["partitions"] = None if looks.weight is None else looks.what, looks.partitions
        result["jets"].append({
            "class": described.classes[label],
            "row": row,
            "given": given,
            "coordinates": _rounded(batch.coordinates[0, real]),
            "pt": None if batch.vectors is None else _rounded(kinematics.pt(batch.vectors)[0, real]),
            "partition": None if looks.partition is None else looks.partition[0, real].tolist(),
            "weight": None if looks.weight is None else _rounded(looks.weight[0, real]),
            "pooled": None if looks.pooled is None else _rounded(looks.pooled[0, real]),
        })  # fmt: skip
    return result


def _rounded(values: Tensor) -> list[Any]:
    rounded: list[Any] = np.round(values.double().cpu().numpy(), DIGITS).tolist()
    return rounded


def _chosen(manifest: Path, described: Manifest, split: str) -> Iterator[tuple[int, Batch]]:
    """Row among the predictions and batch of one jet, class by class."""
    # The order of an unshuffled pass of the loader: shard by shard, bucket by bucket.
    pieces = [
        shard.buckets[width]
        for shard in (ShardFile(manifest.parent / entry.file) for entry in described.splits[split].shards)
        for width in described.buckets
        if shard.jets(width)
    ]
    length = np.concatenate([piece["length"] for piece in pieces])
    label = np.concatenate([piece["label"] for piece in pieces])
    starts = np.cumsum([0, *(len(piece["label"]) for piece in pieces)])
    for index in range(len(described.classes)):
        own = length[label == index]
        if not len(own):
            continue
        typical = np.sort(own)[int(QUANTILE * len(own))]
        row = int(np.flatnonzero((label == index) & (length == typical))[0])
        place = int(np.searchsorted(starts, row, side="right")) - 1
        one = {key: torch.from_numpy(array[[row - starts[place]]]) for key, array in pieces[place].items()}
        mask = torch.arange(one["features"].shape[1]) < one["length"].unsqueeze(1)
        yield row, Batch(one["features"], one.get("vectors"), one["coordinates"], mask, one["label"])
