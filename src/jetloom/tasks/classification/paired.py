"""Paired comparisons: two models on the same jets, where what both get right or wrong cancels."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from jetloom.errors import JetloomError
from jetloom.results.collection import Entry
from jetloom.statistics.values import Difference
from jetloom.tasks.classification.influence import auc_and_influence
from jetloom.tasks.classification.metrics import discriminant
from jetloom.tasks.classification.scores import Scores

Array = NDArray[np.float64]


class Counts(NamedTuple):
    """Jets on which two models disagree, and how likely so uneven a split is if they are equally good."""

    first_only: int
    """Jets that only the first one gets right (or, of background, lets pass)."""
    second_only: int
    p_value: float
    """Two-sided, exact."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Counts:
    """Exact test of McNemar, Psychometrika 12 (1947) 153, on (N,) verdicts about the same jets."""
    first_only, second_only = int((first & ~second).sum()), int((~first & second).sum())
    # Of a fair coin both tails are alike; they overlap where it falls as often on either side.
    tail = float(bdtr(min(first_only, second_only), first_only + second_only, 0.5))
    return Counts(first_only, second_only, min(1.0, 2 * tail))


# With each model of a table the reference is asked for again.
@lru_cache(maxsize=2)
def auc_influence(predictions: Scores) -> tuple[float, Array]:
    """AUC and contributions (N,) of :func:`~jetloom.tasks.classification.influence.auc_and_influence`."""
    return auc_and_influence(predictions.score, predictions.label)


def auc_difference(first: Scores, second: Scores) -> Difference:
    """Macro AUC of the first model less that of the second, both on the same jets."""
    values, influences = zip(*(auc_influence(item) for item in (first, second)), strict=True)
    change, label = influences[0] - influences[1], first.label
    variance = 0.0
    for index in range(first.classes):
        inside = change[label == index]
        variance += float(inside.var(ddof=1)) / len(inside) if len(inside) > 1 else 0.0
    return Difference(values[0] - values[1], math.sqrt(variance))


def survivors_of_one(first: Scores, second: Scores, signal: int, background: int | None, efficiency: float) -> Counts:
    """Background jets that pass the cut of one model only, each cut at the same signal efficiency.

    The cuts are taken as given: with as many signal as background jets their own fluctuation is small beside that of
    the few survivors.
    """
    passing = []
    for item in (first, second):
        label = item.label
        scores = np.stack([item.score(signal), item.score(signal if background is None else background)], axis=1)
        against = label != signal if background is None else label == background
        own, other = (
            discriminant(scores[chosen], 0, None if background is None else 1) for chosen in (label == signal, against)
        )
        own = np.sort(own)[::-1]
        passing.append(other >= own[max(math.ceil(efficiency * len(own) - 1e-9), 1) - 1])
    return mcnemar(passing[0], passing[1])


def median_result(entry: Entry) -> Scores:
    """Predictions of the training of median accuracy (of two in the middle the worse one), as papers quote it."""
    ordered = sorted(entry.results, key=lambda result: result.metrics["values"]["accuracy"]["value"])
    return ordered[(len(ordered) - 1) // 2].read(Scores)


def check_same_jets(first: Scores, second: Scores, where: str) -> None:
    """Refuse to pair jets that are not the same.

    Raises:
        JetloomError: other labels or another number of jets.
    """
    if not np.array_equal(first.label, second.label):
        raise JetloomError(f"{where}: the two models were tested on other jets, so they cannot be compared jet by jet")
