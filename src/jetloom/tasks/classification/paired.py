"""Paired comparisons: two models on the same jets, where what both get right or wrong cancels."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from jetloom.errors import JetloomError
from jetloom.results.collect import Entry
from jetloom.statistics.values import Difference
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
    return Counts(first_only, second_only, _fair_coin(first_only, second_only))


# With each model of a table the reference is asked for again.
@lru_cache(maxsize=2)
def auc_influence(predictions: Scores) -> tuple[float, Array]:
    """Macro one-vs-one AUC, and how much each jet contributes to it.

    The contribution of a jet is the mean, over the pairs of classes that it takes part in, of the share of jets of the
    other class on the right side of it (its placement; ties count half). The AUC is the sum over classes of the mean
    contribution, divided by two; its variance follows from those inside the classes. For two classes this is the
    estimate of DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837.

    Returns:
        AUC, and the contributions (N,): the variance of the AUC is sum_c var(contributions of class c) / n_c.
    """
    classes, label = predictions.classes, predictions.label
    members = [np.flatnonzero(label == index) for index in range(classes)]
    influence = np.zeros(len(label))
    total = 0.0
    for own in range(classes):
        value = predictions.score(own)
        # Sorted jets are looked up among sorted ones, which reads memory in order.
        orders = [np.argsort(value[chosen]) for chosen in members]
        mine = value[members[own]][orders[own]]
        for other in range(classes):
            if other == own:
                continue
            theirs = value[members[other]][orders[other]]
            # The AUC of this ordered pair: jets of `own` should score higher than those of `other`.
            above = np.empty(len(mine))
            above[orders[own]] = _below(theirs, mine)
            influence[members[own]] += above
            influence[members[other][orders[other]]] += 1 - _below(mine, theirs)
            total += float(above.mean())
    pairs = classes * (classes - 1)
    return total / pairs, influence / pairs


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


def _below(ordered: NDArray[np.floating], values: NDArray[np.floating]) -> Array:
    """Share of the ordered numbers below each value, ties counting half."""
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (low + high) / (2 * len(ordered))


def _fair_coin(heads: int, tails: int) -> float:
    """Two-sided exact p-value of a fair coin."""
    tosses, most = heads + tails, max(heads, tails)
    if tosses == 0:
        return 1.0
    # P(X >= most) for a fair coin, doubled.
    return min(1.0, 2 * float(betainc(most, tosses - most + 1, 0.5)))
