"""Batches on their way to a GPU, beside the steps that it does."""

from collections.abc import Iterator

import torch

from jetloom.batch import Batch
from jetloom.training.runs import Run


class Copies:
    """Copies batches on a stream of its own, so that a GPU computes with one while others come.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)

    def of(self, run: Run) -> Iterator[Batch]:
        """Batches of a run, from page-locked memory; all of them set out before the first one is taken."""
        coming = []
        with torch.cuda.stream(self._stream):
            for batch in run:
                coming.append((batch.to(self.device), self._stream.record_event()))
        for batch, arrived in coming:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(arrived)
            for value in batch.tensors:
                if value is not None:
                    # Its memory belongs to the other stream, which must not use it again before this one has.
                    value.record_stream(current)
            yield batch
