"""Figures of merit of a tagger, as functions of jet weights.

Every figure is a *statistic*: prepared once from scores and labels, then called with weights ``(R, N)`` of R samples of
the same N jets. With weights of one it is the measured value, with bootstrap weights it is R resampled values, so value
and interval come from the same code. For large test sets a weight for each jet is too much: their samples are those of
:mod:`jetloom.tasks.classification.grouped`. Definitions are those of the JetClass paper (arXiv:2202.03772, section 4):

- accuracy: argmax over the classes;
- AUC: one-vs-one, macro average, ``sklearn.metrics.roc_auc_score(multi_class="ovo", average="macro")``;
- background rejection of a signal class S: 1 / eps_B at the working point eps_S, against the background class B alone,
  with the discriminant s_S / (s_S + s_B). Without a background class: against all other classes with the score s_S.

Interpolation: a cut at the score of the k-th best signal jet keeps k signal jets and every background jet that scores
at least as high. Between k and k + 1 the background efficiency is interpolated linearly in the signal efficiency; at an
exact k (50 % of an even number) it is the tightest cut that keeps k signal jets, and no interpolation takes place.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from jetloom.errors import JetloomError
from jetloom.statistics import Array, Statistic

Number = TypeVar("Number", bound=np.number)


def check(scores: NDArray[np.floating], label: NDArray[np.integer], classes: list[str]) -> None:
    """Refuse what no figure can be computed from.

    Args:
        scores: (N, C) probabilities.
        label: (N,) class index.
        classes: C names.

    Raises:
        JetloomError: a class without jets, a label outside the classes, a score that is not a number.
    """
    if scores.shape != (len(label), len(classes)):
        raise JetloomError(f"scores have shape {scores.shape}, expected ({len(label)}, {len(classes)})")
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        raise JetloomError(f"scores of {len(bad)} jets are not finite, the first is jet {bad[0]}: the model diverged")
    if len(label) and (label.min() < 0 or label.max() >= len(classes)):
        raise JetloomError(f"labels lie in {label.min()}..{label.max()}, expected 0..{len(classes) - 1}")
    counts = np.bincount(label, minlength=len(classes))
    if not counts.all():
        empty = ", ".join(name for name, count in zip(classes, counts, strict=True) if not count)
        raise JetloomError(f"the split holds no jets of {empty}: figures over all classes are not defined")


def correct(scores: NDArray[np.floating], label: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the highest score of a jet is that of its class; (N,)."""
    right: NDArray[np.bool_] = scores.argmax(axis=1) == label
    return right


def surprise(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Array:
    """-ln(score of the true class) of each jet, in nats; (N,)."""
    score = np.maximum(scores[np.arange(len(label)), label], np.finfo(np.float32).tiny)
    nats: Array = -np.log(score).astype(float)
    return nats


def accuracy(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Share of jets whose highest score is that of their class; values (R,)."""
    return _mean(correct(scores, label).astype(float))


def cross_entropy(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Mean of :func:`surprise`; values (R,)."""
    return _mean(surprise(scores, label))


def _mean(values: Array) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


class Ranking(NamedTuple):
    """Jets by the score of one class, from low to high."""

    order: NDArray[np.intp]
    """(N,) jets."""
    own: NDArray[np.bool_]
    """(N,) whether they are of the class."""
    ties: NDArray[np.intp]
    """(T + 1,) where each group of equal scores begins, and N."""

    def around(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Jets below each jet of the class, and those up to the end of its ties, it included."""
        group = np.searchsorted(self.ties, np.flatnonzero(self.own), side="right")
        return self.ties[group - 1], self.ties[group]


def ranking(score: NDArray[np.floating], label: NDArray[np.integer], index: int) -> Ranking:
    """All jets, ranked by their score (N,) of class ``index``."""
    order = np.argsort(score, kind="stable")
    value = score[order]
    steps = np.flatnonzero(value[1:] != value[:-1]) + 1
    return Ranking(order, label[order] == index, np.concatenate([[0], steps, [len(label)]]))


def macro_auc(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Macro one-vs-one AUC; values (R,).

    The AUC of class c against class d with the score of c is the chance that a jet of c scores higher than a jet of
    d, ties counting half. Dividing the weight of each jet by that of its class makes the sum over all d one
    cumulative sum over the sorted jets: O(C N log N) once and O(C N) for each sample, not O(C^2 N).
    """
    n_classes = scores.shape[1]
    prepared = []
    for index in range(n_classes):
        ranked = ranking(scores[:, index], label, index)
        prepared.append((ranked.order, ranked.own, *ranked.around()))

    def values(weights: Array) -> Array:
        totals = np.stack([weights[:, label == index].sum(axis=1) for index in range(n_classes)], axis=1)
        shares = weights / totals[:, label]
        total = np.zeros(len(weights))
        for order, own, below, upto in prepared:
            ordered = shares[:, order]
            others = cumulative(np.where(own, 0.0, ordered))
            total += (ordered[:, own] * (others[:, below] + others[:, upto])).sum(axis=1) / 2
        mean: Array = total / (n_classes * (n_classes - 1))
        return mean

    return values


def cumulative(values: NDArray[Number]) -> NDArray[Number]:
    """Sums of the first 0, 1, ... N of (R, N) values; (R, N + 1)."""
    sums = np.zeros((len(values), values.shape[1] + 1), dtype=values.dtype)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def confusion_counts(scores: NDArray[np.floating], label: NDArray[np.integer]) -> NDArray[np.int64]:
    """Jets of each true class (rows) that go to each class (columns), (C, C)."""
    n_classes = scores.shape[1]
    cell = label.astype(np.int64) * n_classes + scores.argmax(axis=1)
    return np.bincount(cell, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def discriminant(
    scores: NDArray[np.floating], signal: int, background: int | None, jets: slice | NDArray[np.intp] = slice(None)
) -> Array:
    """s_S / (s_S + s_B) of some jets, or s_S without a background class; (N,).

    Computed as 1 / (1 + s_B / s_S), which keeps what distinguishes scores close to one.
    """
    own = scores[jets, signal].astype(float)
    if background is None:
        return own
    other = scores[jets, background].astype(float)
    # Both underflow only if a third class takes everything: no evidence either way.
    return np.where(own > 0, 1 / (1 + other / np.where(own > 0, own, 1)), np.where(other > 0, 0.0, 0.5))


class Cuts(NamedTuple):
    """Cuts on a discriminant from tight to loose, one after each group of signal jets of equal value."""

    signal: NDArray[np.intp]
    """(S,) signal jets, the highest value first."""
    background: NDArray[np.intp]
    """(B,) background jets, likewise."""
    kept: NDArray[np.intp]
    """(K,) how many of ``signal`` pass; the last cut keeps all."""
    passing: NDArray[np.intp]
    """(K,) how many of ``background`` pass: those that score as high as the last signal jet kept."""


def cuts(
    value: Callable[[NDArray[np.intp]], NDArray[np.floating]], signal: NDArray[np.intp], background: NDArray[np.intp]
) -> Cuts:
    """All cuts that keep another part of the signal.

    Args:
        value: discriminant of jets.
        signal: (S,) signal jets.
        background: (B,) background jets.
    """
    own, other = -value(signal), -value(background)
    best, worst = np.argsort(own, kind="stable"), np.argsort(other, kind="stable")
    own = own[best]
    # Jets of equal score pass or fail together.
    kept = np.append(np.flatnonzero(own[1:] != own[:-1]), len(own) - 1) + 1
    passing = np.searchsorted(other[worst], own[kept - 1], side="right")
    return Cuts(signal[best], background[worst], kept, passing)


def class_cuts(scores: NDArray[np.floating], label: NDArray[np.integer], signal: int, background: int | None) -> Cuts:
    """Cuts on :func:`discriminant` that separate a signal class from the background class, or from all the others."""
    return cuts(
        lambda jets: discriminant(scores, signal, background, jets),
        np.flatnonzero(label == signal),
        np.flatnonzero(label != signal if background is None else label == background),
    )


def background_efficiency(
    scores: NDArray[np.floating],
    label: NDArray[np.integer],
    signal: int,
    background: int | None,
    efficiencies: NDArray[np.floating],
) -> Statistic:
    """Background efficiency eps_B at signal efficiencies eps_S in (0, 1]; values (R, len(efficiencies)).

    Interpolation as stated in the module's description.
    """
    found = class_cuts(scores, label, signal, background)

    def values(weights: Array) -> Array:
        kept = cumulative(weights[:, found.signal])
        leaked = cumulative(weights[:, found.background])
        steps, heights = kept[:, found.kept] / kept[:, -1:], leaked[:, found.passing] / leaked[:, -1:]
        return read_curve(steps, heights, efficiencies)

    return values


def read_curve(steps: Array, heights: Array, efficiencies: NDArray[np.floating]) -> Array:
    """Background efficiencies (R, len(efficiencies)) of R curves.

    Args:
        steps: (R, K) signal efficiencies of the cuts, tight to loose.
        heights: (R, K) background efficiencies of the cuts.
        efficiencies: signal efficiencies at which the curves are read.
    """
    result = np.empty((len(steps), len(efficiencies)))
    for row, (step, height) in enumerate(zip(steps, heights, strict=True)):
        # The first of equal steps is the tightest cut: later ones are jets that this sample does not hold.
        first = np.flatnonzero(np.diff(step, prepend=0.0) > 0)
        result[row] = np.interp(
            efficiencies - 1e-12, np.concatenate([[0.0], step[first]]), np.concatenate([[0.0], height[first]])
        )
    return result


def mean_rejection(
    scores: NDArray[np.floating], label: NDArray[np.integer], signals: list[int], efficiency: float
) -> Statistic:
    """Average background rejection of the SAL-T paper (arXiv:2510.23641, its author code); values (R,).

    For each signal class only its jets and those of the classes that are no signal are kept; with the score of the
    class, 1 / eps_B is read at the point of the ROC curve that is nearest to the wanted signal efficiency, without
    interpolation. The mean is taken of the rejections; it is infinite if one of them is.

    Raises:
        JetloomError: no signal class, or no jet of another one.
    """
    is_background = against_all(label, signals)
    curves = []
    for signal in signals:
        kept = np.flatnonzero((label == signal) | is_background)
        value = scores[kept, signal]
        order = kept[np.argsort(-value, kind="stable")]
        # Jets of equal score pass or fail together: the curve has a point after the last of them.
        last = np.flatnonzero(np.diff(scores[order, signal], append=-np.inf))
        curves.append((order, label[order] == signal, last))

    def values(weights: Array) -> Array:
        total = np.zeros(len(weights))
        for order, own, last in curves:
            ordered = weights[:, order]
            passing = np.cumsum(np.where(own, ordered, 0.0), axis=1)
            leaking = np.cumsum(np.where(own, 0.0, ordered), axis=1)
            passing, leaking = passing[:, last] / passing[:, -1:], leaking[:, last] / leaking[:, -1:]
            nearest = np.abs(passing - efficiency).argmin(axis=1)
            with np.errstate(divide="ignore"):
                total += 1 / leaking[np.arange(len(weights)), nearest]
        return total / len(curves)

    return values


def against_all(label: NDArray[np.integer], signals: list[int]) -> NDArray[np.bool_]:
    """The background (N,) of :func:`mean_rejection`: jets whose class is no signal.

    Raises:
        JetloomError: no signal class, or no jet of another one.
    """
    is_background = ~np.isin(label, signals)
    if not signals or not is_background.any():
        raise JetloomError("mean_rejection: needs classes with a working point, and jets of classes without one")
    return is_background


def efficiency_grid(points: int = 200) -> Array:
    """Signal efficiencies of a ROC curve: even steps, finer towards one, where leptonic classes are used; (points,)."""
    fine = 1 - np.geomspace(0.1, 1e-3, points // 4)
    return np.unique(np.concatenate([np.linspace(0.02, 0.9, points - len(fine) - 1), fine, [1.0]]))
