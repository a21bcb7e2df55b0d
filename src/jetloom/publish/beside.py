"""MLflow metrics of a training that other trainings of the experiment decide: gains over scratch, two-sample tests."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jetloom.config import Run
from jetloom.publish.flat import prefixes

Evaluated = tuple[Mapping[str, Any], Mapping[str, Any]]
"""``metrics.json`` of a training, and its ``training.json``."""


def run_of(record: Mapping[str, Any]) -> Run:
    """The training that a result names, of whatever experiment."""
    return Run(record["dataset"], record["model"], record["seed"])


def gains(trainings: Sequence[Evaluated]) -> dict[Run, dict[str, float]]:
    """``labels/gain``: accuracy less that of the same network from scratch, with the same labels and the same seed.

    Args:
        trainings: all of an experiment.

    Returns:
        By training; of those alone that start from other weights or keep those of an encoder.
    """
    scratch, started = dict[str, float](), dict[Run, tuple[str, float]]()
    for metrics, training in trainings:
        if "accuracy" not in metrics["values"] or "architecture" not in training:
            continue
        recipe, run = training["training"], run_of(metrics["run"])
        labels = recipe.get("labelled_jets", "all")
        alike = [run.dataset, run.seed, training["architecture"], training["options"], labels]
        key, accuracy = json.dumps(alike, sort_keys=True), metrics["values"]["accuracy"]["value"]
        if recipe.get("initial_weights") or recipe.get("freeze"):
            started[run] = key, accuracy
        else:
            scratch.setdefault(key, accuracy)
    return {run: {"labels/gain": accuracy - scratch[key]} for run, (key, accuracy) in started.items() if key in scratch}


def two_sample_tests(
    closeness: Iterable[Mapping[str, Any]], trainings: Sequence[Evaluated]
) -> dict[Run, dict[str, float]]:
    """``generated/auc``: how well a tagger tells a derived data set from what it should be like; 0.5 is perfect.

    Of several taggers of the same mixture the one that does it best, mean over seeds.

    Args:
        closeness: content of each ``closeness.json``.
        trainings: all of an experiment.

    Returns:
        By the training that made the set.
    """
    areas: dict[tuple[frozenset[str | None], str], list[float]] = defaultdict(list)
    for metrics, _ in trainings:
        if "auc" in metrics["values"] and len(metrics.get("classes", ())) == 2:
            areas[frozenset(metrics["classes"]), metrics["run"]["model"]].append(metrics["values"]["auc"]["value"])
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    contents = list(closeness)
    for content, prefix in zip(contents, prefixes(contents), strict=True):
        told_apart = frozenset((content["set"], content.get("reference")))
        means = [statistics.fmean(values) for (classes, _), values in areas.items() if classes == told_apart]
        if means:
            found[Run(**content["run"])][f"{prefix}/auc"] = max(means)
    return dict(found)
