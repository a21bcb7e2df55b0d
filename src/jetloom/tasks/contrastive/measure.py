"""Figures of merit of a contrastive pre-training: what its encoder knows of the classes, and of views."""

from typing import Any

from jetloom.statistics.bootstrap import binomial_interval
from jetloom.tasks.probe import mean, probes
from jetloom.tasks.task import Question, Seen, Task


def merit(task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says of it.

    Returns:
        ``jets``, ``confidence``, ``probe`` (how many jets were learnt from and asked about) and ``values``:
        accuracies of linear probe and nearest neighbours, the same of a random encoder and the gain over it,
        ``partner_accuracy`` (first views whose partner is the nearest of all views of their batch) and ``alignment``.
    """
    confidence = asked.settings.confidence
    distance, found = seen.values.T.astype(float)
    low, high = binomial_interval(int(found.sum()), len(found), confidence)
    partner = {"value": float(found.mean()), "low": low, "high": high}
    told = probes(seen, confidence)
    values = told["values"] | {"partner_accuracy": partner, "alignment": mean(distance, confidence)}
    return {"jets": len(found), "confidence": confidence, **told, "values": values}
