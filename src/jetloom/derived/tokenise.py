"""Jets of one shard as codes, and what the codes stand for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from jetloom.config import Tokenise
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import batches_of
from jetloom.derived.skims import table_of, write_skim
from jetloom.errors import JetloomError
from jetloom.identity.digests import checksum
from jetloom.models.layers.packing import vectors_of
from jetloom.models.published import load_published
from jetloom.models.registry import build
from jetloom.models.tokenizer import Tokenizer, axis, vectors_from
from jetloom.system.device import gpu_or_cpu
from jetloom.training.checkpoint import load_model


def tokenizer(checkpoint: Path, released: Tokenise | None = None) -> Tokenizer:
    """The tokenizer of a training, or of released weights.

    Args:
        checkpoint: ``best.ckpt``, or the file of the weights.
        released: says what they are the weights of; None: it is a training's.

    Raises:
        JetloomError: it is no tokenizer.
    """
    if released is not None and released.architecture:
        kind, options = released.architecture, released.options
        network = build(kind, n_features=7, n_classes=2, preset=released.preset, **options)
        print(load_published(network, checkpoint))
    else:
        network, _ = load_model(checkpoint)
    if not isinstance(network, Tokenizer):
        raise JetloomError(f"{checkpoint}: no tokenizer, but {type(network).__name__}")
    device = gpu_or_cpu()
    return network.to(device).eval()


def tokenise(
    network: Tokenizer,
    checkpoint: Path,
    manifest: Path,
    split: str,
    shard: int,
    classes: list[str],
    codes: int,
    output: Path,
) -> None:
    """Write the jets of a shard.

    Args:
        network: in evaluation mode, so that a codebook stays as it is.
        checkpoint: where it comes from.
        manifest: ``manifest.json`` of the jets.
        split, shard: which of them.
        classes: of the manifest that are kept; the position is the label.
        codes: how many there have to be.
        output: Parquet file.

    Raises:
        JetloomError: another number of codes, another shard than the manifest says, no such class, no jets.
    """
    described = Manifest.read(manifest)
    if network.codes != codes:
        raise JetloomError(f"{checkpoint}: a tokenizer of {network.codes} codes; expected {codes}")
    if missing := [name for name in classes if name not in described.classes]:
        raise JetloomError(f"{manifest}: no class {', '.join(missing)}; allowed: {', '.join(described.classes)}")
    entry = described.splits[split].shards[shard]
    path = manifest.parent / entry.file
    if checksum(path) != entry.sha256:
        raise JetloomError(f"{path}: other jets than {manifest} describes; make it again")
    facts: dict[str, Any] = {
        "dataset": described.dataset,
        "classes": classes,
        "made_from": {"data": described.digest, "shard": entry.sha256, "tokenizer": checksum(checkpoint)},
        "codes": codes,
        "jets_read": 0,
        "particles_read": 0,
        "particles_kept": 0,
    }
    of = np.array([classes.index(name) if name in classes else -1 for name in described.classes])
    write_skim(output, _tables(network, path, of, facts), facts)
    lost = facts["particles_read"] - facts["particles_kept"]
    print(
        f"{facts['jets_read']:,} jets; {lost:,} of {facts['particles_read']:,} particles dropped, too far from the axis"
    )


@torch.inference_mode()
def _tables(network: Tokenizer, path: Path, of: np.ndarray, facts: dict[str, Any]) -> Iterator[pa.Table]:
    device = next(network.parameters()).device
    for whole in batches_of(path):
        chosen = torch.from_numpy(of)[whole.labels]
        batch = whole.map(lambda part, rows=chosen >= 0: part[rows]).to(device)  # type: ignore[misc]
        found = network.reconstruct(batch)
        kept = found.given.kept
        vectors = vectors_from(found.values.float(), *axis(vectors_of(batch), batch.mask))
        facts["jets_read"] += len(batch.mask)
        facts["particles_read"] += int(batch.mask.sum())
        facts["particles_kept"] += int(kept.sum())
        label = chosen[chosen >= 0].numpy()
        yield table_of(vectors.cpu().numpy(), kept.cpu().numpy(), found.code.cpu().numpy(), label)
