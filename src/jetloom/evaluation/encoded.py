"""What an encoder makes of some jets, trained or with the random weights that its training began with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jetloom.data.read.loader import Loader
from jetloom.models.network import Network
from jetloom.models.registry import build
from jetloom.tasks.draws import drawing
from jetloom.tasks.task import Encode

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
        name = evaluated if split == "evaluated" else split
        return _encoded(network, Loader(manifest, name, batch_size=BATCH, shuffle=True), most)

    return encode


def untrained(saved: Mapping[str, Any]) -> Network:
    """The network of a checkpoint as its seed makes it, in evaluation mode on the CPU."""
    sizes = {name: saved[name] for name in ("n_features", "n_classes", "max_particles")}
    with drawing(torch.device("cpu"), saved["seed"]):
        network = build(saved["model"], **sizes, **saved["options"])
    return network.eval()


@torch.inference_mode()
def _encoded(network: Network, loader: Loader, most: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    jets: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for batch in loader:
        jets.append(network.run(network.encode, batch.map(lambda part: part.to(device))).jet.float().cpu().numpy())
        labels.append(batch.labels.numpy())
        if sum(map(len, labels)) >= most:
            break
    return np.concatenate(jets)[:most], np.concatenate(labels)[:most]
