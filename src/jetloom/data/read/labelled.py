"""A few labelled jets of a split, as a study of how many labels a training needs draws them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.data.prepare.manifest import Manifest
from jetloom.errors import JetloomError


class Labelled:
    """The same jets in each pass: of every class the first N / C of a permutation of its jets.

    The permutation follows from the seed of the data set, ``seed`` and the class alone. So the jets of a smaller number
    are among those of a larger one, and each seed has a draw of its own, whatever is trained on it.

    Args:
        number: N, rounded down to equally many of each of the C classes.
        manifest: names the classes and the seed of the data set.
        shards: arrays of each shard by bucket.
        seed: of the draw.
        at_most: take all jets of a class that has fewer.

    Raises:
        JetloomError: less than one jet of each class, or (without ``at_most``) more than a class has.
    """

    def __init__(
        self,
        number: int,
        manifest: Manifest,
        shards: Sequence[Mapping[int, Mapping[str, NDArray[Any]]]],
        seed: int,
        at_most: bool = False,
    ) -> None:
        classes = manifest.classes
        each = number // len(classes)
        if not each:
            raise JetloomError(
                f"training.labelled_jets: {number} is less than one jet of each of {len(classes)} classes"
            )
        places = [(shard, width) for shard, buckets in enumerate(shards) for width in buckets]
        parts = [np.asarray(shards[shard][width]["label"]).astype(np.int16) for shard, width in places]
        label = np.concatenate(parts)
        counts = np.bincount(label, minlength=len(classes)).tolist()
        short = [f"{name} has {count:,}" for name, count in zip(classes, counts, strict=True) if count < each]
        if short and not at_most:
            raise JetloomError(
                f"training.labelled_jets: {number:,} are {each:,} of each of {len(classes)} classes, but "
                f"{', '.join(short)}"
            )
        chosen = np.zeros(len(label), bool)
        for index in range(len(classes)):
            own = np.flatnonzero(label == index)
            chosen[np.random.default_rng([manifest.seed, seed, index]).permutation(own)[:each]] = True
        self.number = int(chosen.sum())
        """Jets of all classes."""
        ends = np.cumsum([len(part) for part in parts])
        split = np.split(chosen, ends[:-1])
        self._rows = {place: np.flatnonzero(part) for place, part in zip(places, split, strict=True)}

    def jets(self, shard: int, width: int) -> int:
        """Jets of a bucket."""
        return len(self.rows(0, shard, width))

    def rows(self, number: int, shard: int, width: int) -> NDArray[np.int64]:
        """Rows of a bucket, rising; the same in every pass ``number``."""
        del number
        return self._rows.get((shard, width), np.empty(0, np.int64))
