"""Batches in short runs, so that Lightning's loop is entered once for several steps.

Its hooks and counters take the host some tenths of a millisecond, as long as a tiny network's step may take. Where a
step needs nothing of Lightning (:func:`whole`), a run of batches is one iteration of its loop. The steps are the same
ones in the same order; what is done between iterations waits for the end of the run: a checkpoint when it is time, the
end at SIGTERM.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from jetloom.batch import Batch
from jetloom.config import Training
from jetloom.data.read.loader import Loader
from jetloom.training.lightning import Trainer

LONGEST = 8
"""Batches of a run; on a GPU they wait for its first step in page-locked memory."""
SHORT = 0.25
"""Seconds that a run takes at most on a CPU, whose steps may be long: so long may SIGTERM wait."""
Run = list[Batch]
"""Batches that one iteration takes, of any buckets."""


def whole(trainer: Trainer, training: Training) -> bool:
    """Whether the module does all of a step, clipping and the optimiser's part too.

    So it is where one process trains, on a CPU or with recorded steps (``compile`` auto or graphs) on a GPU, and no
    scaler of gradients in 16 bit has to ask whether they are finite.
    """
    device = trainer.strategy.root_device.type
    alone = trainer.world_size == 1 and getattr(trainer.precision_plugin, "scaler", None) is None
    return alone and (device == "cpu" or (device == "cuda" and training.compile in ("auto", "graphs")))


def longest_on_a_cpu(training: Training, history: Sequence[Mapping[str, float]]) -> int:
    """Batches of a run in the next epoch: as fast as those of the last one, they take no longer than :data:`SHORT`.

    Args:
        training: the recipe; a run does not take longer than from one checkpoint to the next, either.
        history: rows of the epochs so far.
    """
    if not history:
        return 1
    before, last = ({"step": 0.0}, *history)[-2:]
    seconds = last["seconds"] / max(1.0, last["step"] - before["step"])
    return max(1, min(LONGEST, int(min(SHORT, 60 * training.checkpoint_minutes) / max(seconds, 1e-9))))


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
