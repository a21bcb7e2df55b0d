"""Figures of merit of a tokenizer: what of particles and jets is lost, and how its codes are used."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.models.layers.packing import vectors_of
from jetloom.models.tokenizer import Tokenizer
from jetloom.statistics.closeness import floor, perplexity, used, wasserstein
from jetloom.statistics.ratio import exact, ratio
from jetloom.statistics.response import spread
from jetloom.substructure import OBSERVABLES, observables
from jetloom.tasks.task import Question, Seen, Task

RELATIVE = ("pt",)
"""Observables whose residual is over the true value; of the others it is in their unit."""
FLOOR_JETS = 20_000
"""Training jets that the distance between two halves of the truth is taken from."""
SHOWN = ("mass", "pt")
"""Observables whose distance to the truth is measured."""


def merit(task: Task, seen: Seen, asked: Question) -> dict[str, Any]:
    """What ``metrics.json`` says of a tokenizer.

    Returns:
        ``jets``, ``confidence``, ``resamplings``; ``codes`` (how often each occurs in the jets, in falling order);
        ``values``: ``mse`` of a number of a particle, ``perplexity`` and ``used`` share of the codes, ``dropped`` share
        of the particles, for each observable ``<name>_bias`` and ``<name>_resolution`` of decoded less true (pT: over
        true), and for mass and pT ``<name>_w1`` with its ``<name>_w1_floor``, the distance between as many true jets.
    """
    confidence, resamplings = asked.settings.confidence, asked.settings.bootstrap
    columns = dict(zip(task.columns, seen.values.T.astype(float), strict=True))
    values = {"mse": ratio(columns["squares"], columns["kept"], confidence)}
    values["dropped"] = ratio(columns["particles"] - columns["kept"], columns["particles"], confidence)
    for name in OBSERVABLES:
        decoded, true = columns[f"decoded_{name}"], columns[f"true_{name}"]
        residual = decoded / true if name in RELATIVE else 1 + decoded - true
        residual = residual[np.isfinite(residual)]
        if len(residual):
            found = spread(residual, confidence, resamplings, asked.seed)
            values |= {f"{name}_{what}": value for what, value in found.items()}
    counts = np.zeros(0)
    if seen.over is not None:
        counts = sum((part[0] for part in seen.over("evaluated", _counts)), start=np.zeros(1))
        values |= {"perplexity": exact(perplexity(counts)), "used": exact(used(counts))}
        values |= _distances(columns, _true(seen))
    return {
        "jets": len(seen.values),
        "confidence": confidence,
        "resamplings": resamplings,
        "codes": np.sort(counts)[::-1].astype(int).tolist(),
        "values": values,
    }


def _distances(columns: dict[str, NDArray[np.float64]], true: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    found = {}
    for name in SHOWN:
        jets = columns[f"true_{name}"]
        apart = floor(true[name], len(jets))
        found[f"{name}_w1"] = exact(wasserstein(columns[f"decoded_{name}"], jets))
        found[f"{name}_w1_floor"] = {"value": apart.mean, "low": apart.low, "high": apart.high}
    return found


def _true(seen: Seen) -> dict[str, NDArray[np.float64]]:
    """Observables of training jets."""
    assert seen.over is not None
    parts, number = [], 0
    for vectors, mask in seen.over("train", _particles):
        parts.append(observables(vectors, mask))
        number += len(mask)
        if number >= FLOOR_JETS:
            break
    return {name: np.concatenate([part[name] for part in parts]) for name in SHOWN}


def _particles(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    del model
    return vectors_of(batch), batch.mask


def _counts(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    assert isinstance(model, Tokenizer)
    found = model.reconstruct(batch)
    return (torch.bincount(found.code[found.given.kept], minlength=model.codes),)
