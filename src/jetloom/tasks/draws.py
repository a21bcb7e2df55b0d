"""Random numbers of an evaluation, which are the same each time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawing(device: torch.device, seed: int) -> Iterator[None]:
    """Draw from this seed as long as it lasts; what is drawn afterwards is as if nothing had been drawn meanwhile.

    Args:
        device: where numbers are drawn.
        seed: of them.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
