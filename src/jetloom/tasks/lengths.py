"""How long the jets of a training are."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from jetloom.batch import Batch

ENOUGH = 100_000
"""Jets that a mean is taken of."""


def lengths(jets: Iterable[Batch]) -> NDArray[np.int64]:
    """(n,) particles of each of the first jets."""
    found, seen = [np.zeros(0, np.int64)], 0
    for batch in jets:
        found.append(batch.mask.sum(1).cpu().numpy())
        seen += len(batch.mask)
        if seen >= ENOUGH:
            break
    return np.concatenate(found)
