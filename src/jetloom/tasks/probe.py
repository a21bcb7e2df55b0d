"""How much of the classes an encoder knows that was never told them: a linear probe and nearest neighbours.

Both learn from some jets of the training split, with labels, on the frozen encoder's vector of each jet, and are asked
about those that are evaluated. A random encoder of the same architecture and seed stands beside: random features of pT
and angles know a lot already.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, ndtri, softmax

from jetloom.errors import JetloomError
from jetloom.statistics.bootstrap import binomial_interval
from jetloom.tasks.task import Seen

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

MOST = 10_000
"""Jets that are learnt from, and that are asked about; the first ones of a random order."""
NEIGHBOURS = 20
STRENGTH = 0.1
"""C of the linear probe: cross entropy summed over the jets, times C, against half the square of the weights."""
ROWS = 1000
"""Jets whose neighbours are looked for at once."""


def probes(seen: Seen, confidence: float) -> dict[str, Any]:
    """``probe``, how it was done, and ``values`` of trained and random encoder.

    Args:
        seen: with ``encode``.
        confidence: coverage of the intervals.

    Raises:
        JetloomError: what an encoder makes of a jet is not finite.
    """
    assert seen.encode is not None
    values: dict[str, dict[str, float]] = {}
    right: dict[str, NDArray[np.bool_]] = {}
    for prefix, trained in (("", True), ("random_", False)):
        known, label = seen.encode("train", MOST, trained)
        asked, truth = seen.encode("evaluated", MOST, trained)
        if not (np.isfinite(known).all() and np.isfinite(asked).all()):
            raise JetloomError("what the encoder makes of a jet is not finite; the training has diverged")
        right[f"{prefix}probe"] = linear_probe(known, label, asked) == truth
        right[f"{prefix}knn"] = nearest_neighbours(known, label, asked) == truth
        for name in (f"{prefix}probe", f"{prefix}knn"):
            passed, total = int(right[name].sum()), len(truth)
            low, high = binomial_interval(passed, total, confidence)
            values[f"{name}_accuracy"] = {"value": passed / total, "low": low, "high": high}
    for name in ("probe", "knn"):
        gain = right[name].astype(float) - right[f"random_{name}"]
        values[f"{name}_gain"] = mean(gain, confidence)
    how = {"training_jets": len(label), "test_jets": len(truth), "neighbours": NEIGHBOURS, "strength": STRENGTH}
    return {"probe": how, "values": values}


def linear_probe(known: Floats, label: Labels, asked: Floats) -> NDArray[np.int64]:
    """Classes (m,) of a logistic regression on standardised columns.

    Args:
        known: (n, K) jets with ``label`` (n,).
        asked: (m, K) other jets.
    """
    middle, width = known.mean(0, dtype=float), known.std(0, dtype=float)
    known, asked = ((x - middle) / np.where(width > 0, width, 1.0) for x in (known, asked))
    classes, index = np.unique(label, return_inverse=True)
    jets, columns = known.shape
    truth = np.eye(len(classes))[index]

    def loss(flat: Floats) -> tuple[float, Floats]:
        """Sum over the jets, in units of C n, and its gradient."""
        weights = flat.reshape(columns + 1, -1)
        logits = known @ weights[:-1] + weights[-1]
        error = (softmax(logits, axis=1) - truth) / jets
        strength = 1 / (STRENGTH * jets)
        gradient = np.vstack([known.T @ error + strength * weights[:-1], error.sum(0)])
        nats = -(log_softmax(logits, axis=1) * truth).sum() / jets
        return nats + 0.5 * strength * (weights[:-1] ** 2).sum(), gradient.ravel()

    start = np.zeros((columns + 1) * len(classes))
    flat = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    weights = flat.reshape(columns + 1, -1)
    found: NDArray[np.int64] = classes[(asked @ weights[:-1] + weights[-1]).argmax(1)]
    return found


def nearest_neighbours(known: Floats, label: Labels, asked: Floats) -> NDArray[np.int64]:
    """Classes (m,) by a vote of the ``NEIGHBOURS`` jets of the largest cosine; of equal votes the first class.

    Args:
        known: (n, K) jets with ``label`` (n,).
        asked: (m, K) other jets.
    """
    classes, index = np.unique(label, return_inverse=True)
    units = known / np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-12)
    number = min(NEIGHBOURS, len(known))
    found = []
    for start in range(0, len(asked), ROWS):
        cosine = asked[start : start + ROWS] @ units.T
        nearest = np.argpartition(-cosine, number - 1, axis=1)[:, :number]
        votes = (index[nearest][..., None] == np.arange(len(classes))).sum(1)
        found.append(classes[votes.argmax(1)])
    return np.concatenate(found)


def mean(values: Floats, confidence: float) -> dict[str, float]:
    """The mean with its normal interval."""
    error = float(ndtri((1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    middle = float(values.mean())
    return {"value": middle, "low": middle - error, "high": middle + error}
