"""A few test jets as the network sees them: its order and partitions, and the particles it looks at."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jetloom import kinematics
from jetloom.batch import Batch
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import ShardFile
from jetloom.models.dyntanh import Block, SmallTagger
from jetloom.models.layers import trimmed
from jetloom.models.linformer import ProjectedAttention
from jetloom.models.part import ClassBlock
from jetloom.models.salt import PartitionedProjection
from jetloom.models.sorting import largest_first, real_first, sort_key, zero_padding

DIGITS = 5
QUANTILE = 0.9
"""Jets with many particles show more; this share of the class has fewer or as many."""


@torch.inference_mode()
def examples(model: nn.Module, manifest: Path, split: str) -> dict[str, Any]:
    """One jet of each class, the same ones for every model: the first with the number of particles at ``QUANTILE``.

    Args:
        model: trained network, on the CPU or any device.
        manifest: ``manifest.json`` of the tensors.
        split: where the jets are taken from.

    Returns:
        ``looks``: what the weights are, "class token" (weights of the last class-attention block, mean over heads;
        what is missing to 1 the token gives to itself), "pooled output" (last layer of a linear transformer: the
        particles that supply the maximum, followed through attention and projection), or None;
        ``partitions``: number of partitions of the network, or None;
        ``jets``: for each class its name, the row of the jet in predictions.parquet, the class ``given`` to it,
        and for its particles ``coordinates`` (deta, dphi or x, y, z), ``pt`` (GeV, None for clouds), ``partition``,
        ``weight`` and ``pooled`` (share of the channels whose maximum the particle supplies), None where the network
        has no such thing.
    """
    device = next(model.parameters()).device
    described = Manifest.read(manifest)
    result: dict[str, Any] = {"looks": None, "partitions": None, "jets": []}
    for row, batch in _chosen(manifest, described, split):
        batch = type(batch)(*(part if part is None else part.to(device) for part in batch))
        # ParT leaves out the slots behind the last particle, and its weights have none for them.
        batch = reading_order(model, batch) if isinstance(model, SmallTagger) else trimmed(batch)
        with looking(model) as seen:
            given = int(model(batch).argmax())
        real = batch.mask[0]
        assert batch.label is not None
        partition = partitions_of(model, batch)
        result["looks"], result["partitions"] = seen.get("what"), None if partition is None else partition[0]
        result["jets"].append({
            "class": described.classes[int(batch.label)],
            "row": row,
            "given": described.classes[given],
            "coordinates": _rounded(batch.coordinates[0, real]),
            "pt": None if batch.vectors is None else _rounded(kinematics.pt(batch.vectors)[0, real]),
            "partition": None if partition is None else partition[1][0, real].tolist(),
            "weight": _rounded(seen["weight"][0, real]) if "weight" in seen else None,
            "pooled": _rounded(seen["pooled"][0, real]) if "pooled" in seen else None,
        })  # fmt: skip
    return result


def _rounded(values: Tensor) -> list[Any]:
    return np.round(values.double().cpu().numpy(), DIGITS).tolist()


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


def reading_order(model: SmallTagger, batch: Batch) -> Batch:
    """The batch with its particles as the network will sort them; sorting it again changes nothing."""
    batch = model.fitted(zero_padding(batch))
    if model.sort == "none":
        return batch
    key = sort_key(batch, model.sort, model.published_columns)
    order = largest_first(real_first(key, batch.mask) if model.masked else key)
    return type(batch)(*(
        part if part is None or part.dim() < 2
        else part.gather(1, order) if part.dim() == 2
        else part.gather(1, order[..., None].expand(-1, -1, part.shape[-1]))
        for part in batch
    ))  # fmt: skip


def partitions_of(model: nn.Module, batch: Batch) -> tuple[int, Tensor] | None:
    """Number of partitions and the one (B, N) of each particle of a batch in reading order; None: there are none."""
    projections = [part for part in model.modules() if isinstance(part, PartitionedProjection)]
    if not projections or not isinstance(model, SmallTagger):
        return None
    mixtures, capacity = projections[-1].weight.shape[1:]
    rank = torch.arange(batch.mask.shape[1], device=batch.mask.device).expand(batch.mask.shape)
    if model.partitions:
        return mixtures, rank * mixtures // batch.mask.sum(1, keepdim=True).clamp(min=1)
    return mixtures, rank // capacity


@contextmanager
def looking(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Note in a forward pass which particles (B, N) the output looks at: ``what``, ``weight``, ``pooled``."""
    seen: dict[str, Any] = {}
    handles = []
    for part in model.modules():
        # Later layers overwrite what earlier ones noted.
        if isinstance(part, ClassBlock):
            handles.append(
                part.register_forward_pre_hook(lambda block, given: seen.update(_class_token(block, *given)))
            )
        elif isinstance(part, Block) and isinstance(part.attention, ProjectedAttention):
            handles.append(
                part.register_forward_hook(lambda block, given, out: seen.update(_pooled(block, *given, out)))
            )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _class_token(block: ClassBlock, token: Tensor, particles: Tensor, bias: Tensor) -> dict[str, Any]:
    """Softmax weights of the class token on the particles, mean over heads."""
    keys = block.pre_attn_norm(torch.cat([token, particles.to(token.dtype)], 1))
    key, _ = block.attn.key_value(keys).chunk(2, -1)
    query, key = (x.unflatten(-1, (block.heads, -1)).transpose(1, 2) for x in (block.attn.query(token), key))
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + bias
    return {"what": "class token", "weight": scores.softmax(-1).mean(1)[:, 0, 1:]}


def _pooled(block: Block, x: Tensor, layout: Any, out: Tensor) -> dict[str, Any]:
    """Which particles the maximum over the particles is made of, directly and through the attention.

    s_i is the share of the channels whose maximum is at particle i. Particle i takes A_h[j, i] of mixture j, and
    mixture j takes |F_h[j, l]| / sum_l |F_h[j, l]| of particle l: the weight of l is the mean over heads of
    sum_ij s_i A_h[j, i] |F_h[j, l]| / sum_l |F_h[j, l]|. The weights of a jet add up to 1.
    """
    attention = block.attention
    assert isinstance(attention, ProjectedAttention)
    number = x.shape[1]
    real = torch.ones_like(x[..., 0], dtype=torch.bool) if layout.mask is None else layout.mask
    x = x.masked_fill(~real[..., None], 0.0)
    top = out.masked_fill(~real[..., None], -1.0).argmax(1)
    pooled = torch.zeros_like(x[..., 0]).scatter_add_(1, top, torch.full_like(out[:, 0], 1 / out.shape[2]))
    taken = attention.weights(x, attention.project(x, layout)[0], layout)
    projection = attention.value_projection or attention.key_projection
    # The mixtures of unit vectors are the weights of the projection, whatever its form.
    unit = torch.eye(number, device=x.device, dtype=x.dtype).expand(len(x), -1, -1) * real[:, None]
    given = projection.mix(projection.weight, unit, layout).abs()
    given = given / given.sum(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    weight = torch.einsum("bi,bhji,bhjl->bl", pooled, taken, given) / taken.shape[1]
    return {"what": "pooled output", "weight": weight, "pooled": pooled}
