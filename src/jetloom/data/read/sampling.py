"""Class and bin weights as probabilities of being in a pass, so that a training sees a flat spectrum of every class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.config import Reweighting
from jetloom.data.prepare.manifest import Manifest
from jetloom.errors import JetloomError


class Sampling:
    """Which jets of each bucket are in a pass.

    A jet of class c and bin b is kept with probability ``max(smallest / n(c, b), least)``, where n are the jets of the
    split and ``smallest`` is the least of them that is not 0. Kept are every (1 / probability)-th jets from a random
    start (systematic sampling; shards are shuffled), so that passes differ and have the same number of jets.

    Args:
        reweighting: observer and edges of the bins, least probability.
        manifest: names classes and observers.
        shards: arrays of each shard by bucket.
        seed: of the choice.

    Raises:
        JetloomError: the observer is not in the shards.
    """

    def __init__(
        self,
        reweighting: Reweighting,
        manifest: Manifest,
        shards: Sequence[Mapping[int, Mapping[str, NDArray[Any]]]],
        seed: int,
    ) -> None:
        self._edges = np.asarray(reweighting.edges)
        self._column = None
        if reweighting.observer is not None:
            if reweighting.observer not in manifest.observers:
                known = ", ".join(manifest.observers) or "none"
                raise JetloomError(f"training.reweighting.observer: no {reweighting.observer!r}; allowed: {known}")
            self._column = manifest.observers.index(reweighting.observer)
        self._shards, self._seed = shards, seed
        self._bins = len(self._edges) + 1
        population = np.zeros(len(manifest.classes) * self._bins, dtype=np.int64)
        counts = {}
        for shard, buckets in enumerate(shards):
            for width in buckets:
                counts[shard, width] = np.bincount(self._bin(shard, width), minlength=len(population))
                population += counts[shard, width]
        filled = population > 0
        self.probability = np.zeros(len(population))
        """Of each class and bin, (C x bins,)."""
        self.probability[filled] = np.maximum(population[filled].min() / population[filled], reweighting.least)
        self._jets = {key: int(count @ self.probability) for key, count in counts.items()}

    def jets(self, shard: int, width: int) -> int:
        """Jets of a bucket that are kept in each pass."""
        return self._jets.get((shard, width), 0)

    def rows(self, number: int, shard: int, width: int) -> NDArray[np.integer]:
        """Rows of a bucket that are kept in pass ``number``, rising."""
        kept = self.jets(shard, width)
        if not kept:
            return np.empty(0, np.int64)
        start = np.random.default_rng([self._seed, number, shard, width]).random()
        total = np.cumsum(self.probability[self._bin(shard, width)])
        return np.searchsorted(total / total[-1] * kept, np.arange(kept) + start, side="right")

    def _bin(self, shard: int, width: int) -> NDArray[np.integer]:
        arrays = self._shards[shard][width]
        label = np.asarray(arrays["label"])
        if self._column is None:
            return label
        return label * self._bins + np.searchsorted(self._edges, arrays["observers"][:, self._column], side="right")
