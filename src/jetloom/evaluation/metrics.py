"""Figures of merit of a tagger, as functions of jet weights.

Every figure is a *statistic*: prepared once from scores and labels, then called with weights ``(R, N)`` of R samples of
the same N jets. With weights of one it is the measured value, with bootstrap weights it is R resampled values, so value
and interval come from the same code. Definitions are those of the JetClass paper (arXiv:2202.03772, section 4):

- accuracy: argmax over the classes;
- AUC: one-vs-one, macro average, ``sklearn.metrics.roc_auc_score(multi_class="ovo", average="macro")``;
- background rejection of a signal class S: 1 / eps_B at the working point eps_S, against the background class B alone,
  with the discriminant s_S / (s_S + s_B). Without a background class: against all other classes with the score s_S.

Interpolation: a cut at the score of the k-th best signal jet keeps k signal jets and every background jet that scores
at least as high. Between k and k + 1 the background efficiency is interpolated linearly in the signal efficiency; at an
exact k (50 % of an even number) it is the tightest cut that keeps k signal jets, and no interpolation takes place.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jetloom.errors import JetloomError

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""Weights (R, N) of R samples -> R values, each of the statistic's own shape."""


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


def accuracy(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Share of jets whose highest score is that of their class; values (R,)."""
    correct = (scores.argmax(axis=1) == label).astype(float)
    return lambda weights: weights @ correct / weights.sum(axis=1)


def cross_entropy(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Mean of -ln(score of the true class), in nats; values (R,)."""
    surprise = -np.log(np.maximum(scores[np.arange(len(label)), label], np.finfo(np.float32).tiny))
    return lambda weights: weights @ surprise.astype(float) / weights.sum(axis=1)


def macro_auc(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Macro one-vs-one AUC; values (R,).

    The AUC of class c against class d with the score of c is the chance that a jet of c scores higher than a jet of
    d, ties counting half. Dividing the weight of each jet by that of its class makes the sum over all d one
    cumulative sum over the sorted jets: O(C N log N) once and O(C N) for each sample, not O(C^2 N).
    """
    n_classes = scores.shape[1]
    member = np.eye(n_classes)[label]
    prepared = []
    for index in range(n_classes):
        order = np.argsort(scores[:, index], kind="stable")
        own = label[order] == index
        _, first, size = np.unique(scores[order, index], return_index=True, return_counts=True)
        # Cumulative weight of others below and up to the ties of each own jet.
        below, upto = np.repeat(first, size)[own], np.repeat(first + size, size)[own]
        prepared.append((order, own, below, upto))

    def values(weights: Array) -> Array:
        shares = weights / (weights @ member)[:, label]
        total = np.zeros(len(weights))
        for order, own, below, upto in prepared:
            ordered = shares[:, order]
            others = np.zeros((len(weights), len(label) + 1))
            np.cumsum(np.where(own, 0.0, ordered), axis=1, out=others[:, 1:])
            total += (ordered[:, own] * (others[:, below] + others[:, upto])).sum(axis=1) / 2
        return total / (n_classes * (n_classes - 1))

    return values


def confusion(scores: NDArray[np.floating], label: NDArray[np.integer]) -> Statistic:
    """Share of the jets of each true class (rows) that go to each class (columns); values (R, C, C)."""
    n_classes = scores.shape[1]
    cell = label.astype(np.int64) * n_classes + scores.argmax(axis=1)
    order = np.argsort(cell, kind="stable")
    present, starts = np.unique(cell[order], return_index=True)

    def values(weights: Array) -> Array:
        counts = np.zeros((len(weights), n_classes * n_classes))
        counts[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
        counts = counts.reshape(-1, n_classes, n_classes)
        return counts / counts.sum(axis=2, keepdims=True)

    return values


def confusion_counts(scores: NDArray[np.floating], label: NDArray[np.integer]) -> NDArray[np.int64]:
    """Jets of each true class (rows) that go to each class (columns), (C, C)."""
    n_classes = scores.shape[1]
    cell = label.astype(np.int64) * n_classes + scores.argmax(axis=1)
    return np.bincount(cell, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def discriminant(scores: NDArray[np.floating], signal: int, background: int | None) -> Array:
    """s_S / (s_S + s_B) of every jet, or s_S without a background class; (N,).

    Computed as 1 / (1 + s_B / s_S), which keeps what distinguishes scores close to one.
    """
    own = scores[:, signal].astype(float)
    if background is None:
        return own
    other = scores[:, background].astype(float)
    # Both underflow only if a third class takes everything: no evidence either way.
    return np.where(own > 0, 1 / (1 + other / np.where(own > 0, own, 1)), np.where(other > 0, 0.0, 0.5))


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
    value = discriminant(scores, signal, background)
    is_signal = np.flatnonzero(label == signal)
    is_background = np.flatnonzero(label != signal if background is None else label == background)
    is_signal = is_signal[np.argsort(-value[is_signal], kind="stable")]
    is_background = is_background[np.argsort(-value[is_background], kind="stable")]
    # Jets of equal score pass or fail together.
    last_tie = np.searchsorted(-value[is_signal], -value[is_signal], side="right") - 1
    passing = np.searchsorted(-value[is_background], -value[is_signal], side="right")

    def values(weights: Array) -> Array:
        kept = np.cumsum(weights[:, is_signal], axis=1)[:, last_tie]
        kept /= kept[:, -1:]
        leaked = np.zeros((len(weights), len(is_background) + 1))
        np.cumsum(weights[:, is_background], axis=1, out=leaked[:, 1:])
        leaked /= leaked[:, -1:]
        result = np.empty((len(weights), len(efficiencies)))
        for row, (signal_row, background_row) in enumerate(zip(kept, leaked, strict=True)):
            # The first of equal steps is the tightest cut: later ones are jets that this sample does not hold.
            first = np.flatnonzero(np.diff(signal_row, prepend=0.0) > 0)
            steps = np.concatenate([[0.0], signal_row[first]])
            height = np.concatenate([[0.0], background_row[passing[first]]])
            result[row] = np.interp(efficiencies - 1e-12, steps, height)
        return result

    return values


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
    is_background = ~np.isin(label, signals)
    if not signals or not is_background.any():
        raise JetloomError("mean_rejection: needs classes with a working point, and jets of classes without one")
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


def efficiency_grid(points: int = 200) -> Array:
    """Signal efficiencies of a ROC curve: even steps, finer towards one, where leptonic classes are used; (points,)."""
    fine = 1 - np.geomspace(0.1, 1e-3, points // 4)
    return np.unique(np.concatenate([np.linspace(0.02, 0.9, points - len(fine) - 1), fine, [1.0]]))
