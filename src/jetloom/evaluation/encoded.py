"""What an encoder makes of some jets, trained or with the random weights that its training began with."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.data.read.loader import Loader
from jetloom.models.network import Network
from jetloom.models.registry import build
from jetloom.system.device import gpu_or_cpu
from jetloom.tasks.draws import drawing
from jetloom.tasks.task import Encode, Over

BATCH = 512


def encoder(model: Network, saved: Mapping[str, Any], manifest: Path, evaluated: str) -> Encode:
    """A function from a split to what encoders make of its jets; nothing is computed before it is asked.

    Args:
        model: trained network.
        saved: what its checkpoint says of it.
        manifest: ``manifest.json`` of the tensors.
        evaluated: split that is.
    """

    def encode(split: str, most: int, trained: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        network = model if trained else untrained(saved)
        jets: list[NDArray[np.float32]] = []
        labels: list[NDArray[np.int64]] = []
        for known, label in asker(network, manifest, evaluated)(split, _encoded):
            jets.append(known)
            labels.append(label)
            if sum(map(len, labels)) >= most:
                break
        return np.concatenate(jets)[:most], np.concatenate(labels)[:most]

    return encode


def asker(model: Network, manifest: Path, evaluated: str) -> Over:
    """A function that asks a network something of the jets of a split, batch by batch.

    Args:
        model: the network.
        manifest: ``manifest.json`` of the tensors.
        evaluated: split that is.
    """

    @torch.inference_mode()
    def over(
        split: str, function: Callable[[nn.Module, Batch], tuple[Tensor, ...]]
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        device = gpu_or_cpu()
        network, name = model.to(device), evaluated if split == "evaluated" else split
        for batch in Loader(manifest, name, batch_size=BATCH, shuffle=True):
            yield tuple(x.cpu().numpy() for x in function(network, batch.to(device)))

    return over


def untrained(saved: Mapping[str, Any]) -> Network:
    """The network of a checkpoint as its seed makes it, in evaluation mode on the CPU."""
    sizes = {name: saved[name] for name in ("n_features", "n_classes", "max_particles")}
    with drawing(torch.device("cpu"), saved["seed"]):
        network = build(saved["model"], **sizes, **saved["options"])
    return network.eval()


def _encoded(network: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    assert isinstance(network, Network)
    return network.run(network.encode, batch).jet.float(), batch.labels
