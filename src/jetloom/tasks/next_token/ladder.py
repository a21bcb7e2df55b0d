"""Generators that know next to nothing: the ladder that a network has to climb."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Codes = tuple[NDArray[np.integer], NDArray[np.bool_]]
"""(B, N) codes, and (B, N) which of them are there, those in front."""
STRENGTH = 20.0
"""Jets that the simpler guess counts as, in each of the finer ones."""


class Ladder:
    """Counts of the training jets. All guesses are of the next token: a code, or K, the end of the jet.

    ``unigram``: how often each token occurs, each counted once more than it does; ``position``: how often at this place
    of a jet; ``bigram``: how often behind this code. The last two are mixed with the unigram, which counts as
    ``STRENGTH`` occurrences.

    Args:
        codes: K.
        jets: of the training split.
    """

    def __init__(self, codes: int, jets: Iterable[Codes]) -> None:
        self.codes = codes
        size = codes + 1
        parts = [_pairs(code, there, codes) for code, there in jets] or [(np.empty(0, np.int64),) * 3]
        before, after, place = (np.concatenate(column) for column in zip(*parts, strict=True))
        unigram = 1.0 + np.bincount(after, minlength=size)
        self._unigram = unigram / unigram.sum()
        ones = np.ones(len(after))
        # One place more, of which nothing is known: all places behind the longest jet.
        places = int(place.max(initial=0)) + 2
        position = csr_array((ones, (place, after)), shape=(places, size))
        bigram = csr_array((ones, (before, after)), shape=(size, size))
        self._position, self._bigram = position, bigram
        self._at_position = np.asarray(position.sum(axis=1)).ravel()
        self._behind = np.asarray(bigram.sum(axis=1)).ravel()

    def nats(self, code: NDArray[np.integer], there: NDArray[np.bool_]) -> dict[str, float]:
        """Sums over the targets of some jets: ``uniform``, ``unigram``, ``position``, ``bigram``."""
        before, after, place = _pairs(code, there, self.codes)
        known = self._unigram[after]
        place = np.minimum(place, self._position.shape[0] - 1)
        at, behind = self._at_position[place], self._behind[before]
        position = (_at(self._position, place, after) + STRENGTH * known) / (at + STRENGTH)
        bigram = (_at(self._bigram, before, after) + STRENGTH * known) / (behind + STRENGTH)
        guesses = {"unigram": known, "position": position, "bigram": bigram}
        uniform = len(after) * float(np.log(self.codes + 1))
        return {"uniform": uniform} | {name: float(-np.log(guess).sum()) for name, guess in guesses.items()}


def _pairs(
    code: NDArray[np.integer], there: NDArray[np.bool_], codes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each target the token before it (K: the start), itself (K: the end), and its place in the jet."""
    jets, slots = code.shape
    tokens = np.full((jets, slots + 1), codes, np.int64)
    tokens[:, :slots][there] = code[there]
    asked = np.arange(slots + 1) <= there.sum(1)[:, None]
    before = np.full_like(tokens, codes)
    before[:, 1:] = tokens[:, :-1]
    place = np.broadcast_to(np.arange(slots + 1), asked.shape)
    return before[asked], tokens[asked], place[asked].astype(np.int64)


def _at(table: csr_array, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
    """Entries of a sparse table."""
    entries: NDArray[np.float64] = np.asarray(table[row, column]).ravel().astype(float)
    return entries
