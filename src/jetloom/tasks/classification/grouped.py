"""Figures of merit of large test sets: values from all jets, bootstrap samples without a weight for each jet.

Jets are drawn with replacement inside their class, so how often those of a group are drawn is multinomial. Each figure
needs a few thousand groups for a sample, not every jet:

- means over jets: groups of jets of a class with nearly the same number, which stand for their mean;
- AUC: the same with the jets' influences, its terms of first order (those of second order are smaller by the square
  root of the number of jets; E. R. DeLong et al., Biometrics 44 (1988) 837);
- ROC curves: groups of signal jets between two cuts, and of background jets between the same cuts;
- mean rejection: background jets that pass the same ones of the cuts.

The figures are drawn one after another: each has the interval that it would have in common samples, but the samples of
two figures do not belong together. Those of :mod:`jetloom.statistics.bootstrap` do.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from jetloom.statistics import Array
from jetloom.tasks.classification import metrics
from jetloom.tasks.classification.influence import auc_and_influence
from jetloom.tasks.classification.metrics import Cuts

MEAN_GROUPS = 2_000
"""Of the jets of a class, in a mean."""
CUTS = 20_000
"""Of a ROC curve; between two of them it is straight in a sample. With 2M signal jets a group of 100 moves by less than
a hundredth of what the cut does."""


class Grouped:
    """Values and bootstrap samples of the statistics of :mod:`.metrics`, one figure at a time.

    Args:
        scores: (N, C) probabilities; every class has jets.
        label: (N,) class index.
        number: samples R.
        seed: of the samples.
    """

    def __init__(self, scores: NDArray[np.floating], label: NDArray[np.integer], number: int, seed: int = 0) -> None:
        self.scores, self.label, self.number = scores, label, number
        self.counts = np.bincount(label, minlength=scores.shape[1])
        self._generator = np.random.default_rng(seed)

    def accuracy(self) -> tuple[Array, Array]:
        """Value () and samples (R,)."""
        right = metrics.correct(self.scores, self.label)
        return right.mean(), self._class_means(right) @ self.counts / len(self.label)

    def cross_entropy(self) -> tuple[Array, Array]:
        """Value () and samples (R,)."""
        surprise = metrics.surprise(self.scores, self.label)
        return surprise.mean(), self._class_means(surprise) @ self.counts / len(self.label)

    def macro_auc(self) -> tuple[Array, Array]:
        """Value () and samples (R,)."""
        area, influence = auc_and_influence(lambda index: self.scores[:, index], self.label)
        # The influences of a class add up to what it has in the area; all pairs have two classes.
        return np.asarray(area), self._class_means(influence).sum(axis=1) - area

    def background_efficiency(
        self, signal: int, background: int | None, efficiencies: NDArray[np.floating]
    ) -> tuple[Array, Array]:
        """Value (E,) and samples (R, E) at E signal efficiencies."""
        cuts = metrics.class_cuts(self.scores, self.label, signal, background)
        value = metrics.read_curve(
            cuts.kept[None] / len(cuts.signal), cuts.passing[None] / len(cuts.background), efficiencies
        )
        cuts, steps = self._drawn_cuts(cuts)
        first_passed = np.repeat(
            np.arange(len(cuts.passing) + 1), np.diff(cuts.passing, prepend=0, append=len(cuts.background))
        )
        leaked = np.zeros((self.number, len(cuts.passing) + 1), dtype=np.int64)
        label = self.label[cuts.background]
        for index in np.unique(label):
            leaked += self._draw(np.bincount(first_passed[label == index], minlength=leaked.shape[1]))
        heights = np.cumsum(leaked, axis=1)[:, :-1] / len(cuts.background)
        return value[0], metrics.read_curve(steps, heights, efficiencies)

    def mean_rejection(self, signals: list[int], efficiency: float) -> tuple[Array, Array]:
        """Value () and samples (R,).

        A sample draws the background jets that pass the same ones of the measured cuts, so that what the signal classes
        have in common stays; then each class the few that its cut in this sample lets pass more or fewer.

        Raises:
            JetloomError: no signal class, or no jet of another one.
        """
        background = np.flatnonzero(metrics.against_all(self.label, signals))
        pattern = np.zeros(len(self.label), dtype=np.int64)
        values, found = [], []
        for bit, signal in enumerate(signals):
            cuts = metrics.cuts(partial(self._score, signal), np.flatnonzero(self.label == signal), background)
            nearest = np.abs(cuts.kept / len(cuts.signal) - efficiency).argmin()
            passing = cuts.passing[nearest]
            values.append(passing / len(background))
            pattern[cuts.background[:passing]] |= 1 << bit
            thinned, steps = self._drawn_cuts(cuts)
            drawn_passing = thinned.passing[np.abs(steps - efficiency).argmin(axis=1)]
            found.append((self.label[cuts.background], passing, drawn_passing))
        leaked = np.zeros((len(signals), self.number))
        for index in np.unique(self.label[background]):
            patterns, sizes = np.unique(pattern[self.label == index], return_counts=True)
            drawn = self._draw(sizes)
            for bit, (ordered, measured, wanted) in enumerate(found):
                ranks = np.flatnonzero(ordered == index)
                before, after = np.searchsorted(ranks, measured), np.searchsorted(ranks, wanted)
                leaked[bit] += self._moved(drawn[:, patterns >> bit & 1 == 1].sum(axis=1), before, after, len(ranks))
        with np.errstate(divide="ignore"):
            return np.asarray(np.mean(1 / np.array(values))), (len(background) / leaked).mean(axis=0)

    def _score(self, signal: int, jets: NDArray[np.intp]) -> NDArray[np.floating]:
        score: NDArray[np.floating] = self.scores[jets, signal]
        return score

    def _draw(self, sizes: NDArray[np.integer]) -> NDArray[np.int64]:
        """How often jets of groups of these sizes (G,), all of a class, are in each sample; (R, G)."""
        total = sizes.sum()
        return self._generator.multinomial(total, sizes / total, size=self.number)

    def _class_means(self, values: NDArray[np.bool_ | np.float64]) -> Array:
        """Mean over the jets of each class in each sample; (R, C)."""
        means = np.empty((self.number, len(self.counts)))
        for index, jets in enumerate(self.counts):
            ordered = np.sort(values[self.label == index]).astype(float)
            edges = np.linspace(0, jets, min(jets, MEAN_GROUPS) + 1).astype(np.int64)
            sizes = np.diff(edges)
            means[:, index] = self._draw(sizes) @ (np.add.reduceat(ordered, edges[:-1]) / sizes) / jets
        return means

    def _drawn_cuts(self, cuts: Cuts) -> tuple[Cuts, Array]:
        """At most ``CUTS`` of the cuts, and their signal efficiencies in each sample (R, K)."""
        chosen = np.unique(np.linspace(0, len(cuts.kept) - 1, min(len(cuts.kept), CUTS)).astype(np.int64))
        cuts = cuts._replace(kept=cuts.kept[chosen], passing=cuts.passing[chosen])
        return cuts, np.cumsum(self._draw(np.diff(cuts.kept, prepend=0)), axis=1) / len(cuts.signal)

    def _moved(self, passed: NDArray[np.int64], before: int, after: NDArray[np.int64], jets: int) -> NDArray[np.int64]:
        """Jets of each sample (R,) that pass a cut moved so that ``after`` of all jets pass it, not ``before``."""
        looser = self._generator.binomial(jets - passed, np.clip((after - before) / max(jets - before, 1), 0, 1))
        tighter = self._generator.binomial(passed, np.clip(after / max(before, 1), 0, 1))
        return np.where(after >= before, passed + looser, tighter)
