"""Figures of merit of a generator's likelihood, beside those of generators that know next to nothing."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.statistics.ratio import exact, ratio
from jetloom.tasks.next_token.ladder import Codes, Ladder
from jetloom.tasks.task import Question, Seen, Task

ENOUGH = 400
"""Batches of training jets that the counts are taken of."""


def merit(task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says of a training for the next token.

    Returns:
        ``jets``, ``confidence`` and ``values``: ``nats`` of a token and ``jet_nats`` of a jet; of a token the nats of
        ``uniform``, ``unigram``, ``position`` and ``bigram`` (:class:`Ladder`), and ``nats_gained`` over the bigram.
    """
    confidence = asked.settings.confidence
    nats, targets = seen.values.T.astype(float)
    values = {"nats": ratio(nats, targets, confidence), "jet_nats": ratio(nats, np.ones_like(nats), confidence)}
    if seen.over is not None:
        guesses = _guesses(seen, task.data.codes or 0)
        number = targets.sum()
        values |= {name: exact(total / number) for name, total in guesses.items()}
        lost, bigram = values["nats"], guesses["bigram"] / number
        values["nats_gained"] = {
            "value": bigram - lost["value"], "low": bigram - lost["high"], "high": bigram - lost["low"],
        }  # fmt: skip
    return {"jets": len(nats), "confidence": confidence, "values": values}


def _guesses(seen: Seen, codes: int) -> dict[str, float]:
    """Nats of the evaluated jets, summed, by the rungs of the ladder."""
    ladder = Ladder(codes, islice(_jets(seen, "train"), ENOUGH))
    told = [ladder.nats(code, there) for code, there in _jets(seen, "evaluated")]
    return {name: sum(item[name] for item in told) for name in told[0]}


def _jets(seen: Seen, split: str) -> Iterator[Codes]:
    assert seen.over is not None
    yield from ((code, there) for code, there in seen.over(split, _codes))


def _codes(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    del model
    return batch.features[..., 0].long(), batch.mask
