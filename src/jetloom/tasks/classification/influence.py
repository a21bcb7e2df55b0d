"""The macro one-vs-one AUC and the contribution of each jet to it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jetloom.statistics import Array
from jetloom.tasks.classification import metrics


def auc_and_influence(score: Callable[[int], NDArray[np.floating]], label: NDArray[np.integer]) -> tuple[float, Array]:
    """AUC of :func:`metrics.macro_auc`, and how much each jet contributes to it (N,).

    The contribution of a jet is the sum, over the pairs of classes that it takes part in, of the share of jets of the
    other class on the right side of it (its placement; ties count half), divided by the number of ordered pairs. The
    mean over the jets of a class, summed over the classes, is twice the AUC; the variance of the AUC is
    sum_c var(contributions of class c) / n_c. For two classes this is the estimate of DeLong, DeLong and
    Clarke-Pearson, Biometrics 44 (1988) 837.

    Args:
        score: from a class to the scores (N,) of all jets; one class is in memory at a time.
        label: (N,) class index; every class has jets.
    """
    counts = np.bincount(label)
    n_classes = len(counts)
    shares = 1 / counts
    pairs = n_classes * (n_classes - 1)
    area, influence = 0.0, np.zeros(len(label))
    for index in range(n_classes):
        ranked = metrics.ranking(score(index), label, index)
        ordered = shares[label[ranked.order]]
        ordered[ranked.own] = 0
        others = metrics.cumulative(ordered[None])[0]
        del ordered
        below, upto = ranked.around()
        over = others[below] + others[upto]
        del others
        area += float((shares[index] * over).sum() / 2)
        own = np.concatenate([[0], np.cumsum(ranked.own, dtype=np.int32)])[ranked.ties]
        placed = np.repeat(1 - (own[:-1] + own[1:]) / (2 * counts[index]), np.diff(ranked.ties))
        placed[ranked.own] = over / 2
        influence[ranked.order] += placed
    return area / pairs, influence / pairs
