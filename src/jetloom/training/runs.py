"""Batches in short runs, so that Lightning's loop is entered once for several steps.

Its hooks and counters take the host some tenths of a millisecond, more than a tiny network's step may take a GPU. Where
a step needs nothing of Lightning (:func:`whole`), a run of batches is one iteration of its loop. The steps are the same
ones in the same order; what is done between iterations waits for the end of the run: a checkpoint when it is time, the
end at SIGTERM.
"""

from collections.abc import Iterator
from itertools import islice

from jetloom.batch import Batch
from jetloom.config import Training
from jetloom.data.read.loader import Loader
from jetloom.training.lightning import Trainer

LONGEST = 8
"""Batches of a run, which wait for its first step in page-locked memory."""
Run = list[Batch]
"""Batches that one iteration takes, of any buckets."""


def whole(trainer: Trainer, training: Training) -> bool:
    """Whether steps are recorded with all that belongs to them, clipping and the optimiser's part too.

    So it is where one process trains on a GPU with ``compile`` auto or graphs, and no scaler of gradients in 16 bit has
    to ask whether they are finite.
    """
    recorded = training.compile in ("auto", "graphs") and trainer.strategy.root_device.type == "cuda"
    return recorded and trainer.world_size == 1 and getattr(trainer.precision_plugin, "scaler", None) is None


class Runs:
    """What is left of an epoch, in runs.

    Args:
        loader: of the batches, in their order.
        longest: batches of a run; the last one of an epoch may have fewer.
    """

    def __init__(self, loader: Loader, longest: int) -> None:
        self.loader, self.longest = loader, longest

    @property
    def batches(self) -> int:
        """Batches that are left of the epoch."""
        return len(self.loader)

    def __len__(self) -> int:
        return -(-self.batches // self.longest)

    def __iter__(self) -> Iterator[Run]:
        batches = iter(self.loader)
        while run := list(islice(batches, self.longest)):
            yield run
