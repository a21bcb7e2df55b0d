"""Figures of merit of a masked prediction: what its encoder knows of the classes, and of hidden particles."""

from typing import Any

from jetloom.statistics.ratio import ratio
from jetloom.tasks.probe import probes
from jetloom.tasks.task import Question, Seen, Task


def merit(task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says of it.

    Returns:
        ``jets``, ``confidence``, ``probe`` (how many jets were learnt from and asked about) and ``values``:
        accuracies of linear probe and nearest neighbours, the same of a random encoder and the gain over it;
        of a masked particle ``nats``, ``token_accuracy``, ``unigram_nats`` (of who knows how often each code occurs)
        and ``nats_gained`` over that.
    """
    confidence = asked.settings.confidence
    nats, right, masked, unigram = seen.values.T.astype(float)
    figures = {"nats": nats, "token_accuracy": right, "unigram_nats": unigram, "nats_gained": unigram - nats}
    own = {name: ratio(value, masked, confidence) for name, value in figures.items()}
    told = probes(seen, confidence)
    return {"jets": len(nats), "confidence": confidence, **told, "values": told["values"] | own}
