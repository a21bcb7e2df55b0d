"""Scores of a test split: one column for each class, in the order of the labels."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jetloom.results.predictions import Predictions


class Scores(Predictions):
    """The predictions of a classifier; of N jets only one bit each stays in memory, whether the highest score is right.

    Its outputs are the probabilities of C classes; the position is the label.
    """

    prefix = "score_"

    @property
    def classes(self) -> int:
        """C."""
        return len(self.outputs)

    def score(self, index: int) -> NDArray[np.float32]:
        """(N,) probabilities of one class."""
        return self.columns[self.outputs[index]]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the highest score is that of the true class."""
        bits, jets = self._correct
        return np.unpackbits(bits, count=jets).view(bool)

    @cached_property
    def _correct(self) -> tuple[NDArray[np.uint8], int]:
        right = np.concatenate([scores.argmax(axis=1) == label for scores, label in self.parts()])
        return np.packbits(right), len(right)
