"""Contents of result files as MLflow metrics: flat names, finite numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jetloom.catalogue.cards import task_card
from jetloom.config import Run, TaskChoice
from jetloom.results.energy import BITS, TECHNOLOGIES, energy_of

DERIVED = {"generated": "generated", "decoded": "reco"}
"""Kinds of derived data sets that are compared with what they should be like, and how their metrics begin."""


def flat_evaluation(content: Mapping[str, Any]) -> dict[str, float]:
    """Figures of merit of an evaluation, also those of further tasks, and those that have names of their own.

    Those in fewer bits are ``test/int8/accuracy``, ``test/int8/accuracy_lost`` and so on.

    Args:
        content: of ``metrics.json``.
    """
    split = content["split"]
    flat = flat_metrics(content["values"], split)
    if "task" in content:
        flat |= flat_named(content["values"], task_card(content["task"]["name"]).tracked)
    for name, posterior in content.get("posteriors", {}).get("values", {}).items():
        flat[f"{split}/posterior_{name}"] = posterior["value"]
    for form, fewer in (content.get("quantised") or {}).items():
        if "values" in fewer:
            flat |= flat_metrics(fewer["values"], f"{split}/{form}")
            flat |= {f"{split}/{form}/{name}_lost": item["value"] for name, item in fewer["lost"].items()}
    for other in content.get("also", ()):
        flat |= flat_metrics(other["values"], f"{split}/{TaskChoice.read(other['task']).title}")
    return flat


def flat_metrics(values: Mapping[str, Any], split: str) -> dict[str, float]:
    """Figures of merit as MLflow metrics: ``test/accuracy``, ``test/auc``, ``test/rej50_Hbb``, ``test/rej99.5_Tbl``."""
    flat = {
        f"{split}/{name}": item["value"] for name, item in values.items() if isinstance(item, dict) and "value" in item
    }
    for name, rejection in (values.get("rejection") or {}).items():
        flat[f"{split}/rej{100 * rejection['efficiency']:g}_{name}"] = rejection["value"]
    return _finite(flat)


def flat_named(values: Mapping[str, Any], tracked: Mapping[str, str]) -> dict[str, float]:
    """Figures of merit under names that say what they are of: ``tokens/perplexity``, ``generated/nats_per_jet``.

    Args:
        values: of an evaluation.
        tracked: name of the metric by that of the figure, as the card of the task says.
    """
    return _finite({metric: values[name]["value"] for name, metric in tracked.items() if name in values})


def flat_labels(training: Mapping[str, Any], classes: int) -> dict[str, float]:
    """``labels/n``: training jets whose labels are used, of each class equally many; nothing where all are.

    Args:
        training: recipe.
        classes: how many there are.
    """
    given = training.get("labelled_jets", "all")
    return {} if given == "all" else {"labels/n": float(given // classes * classes)}


def flat_cost(content: Mapping[str, Any]) -> dict[str, float]:
    """Cost as MLflow metrics: ``cost/flops``, ``cost/ms_batch16``, ``cost/ms_128particles``, ``cost/uj_int8_45nm``.

    Where numbers moved were counted, the energies of :mod:`jetloom.results.energy`; ``cost/busy_points``: measurements
    that a busy machine disturbed.
    """
    values = {f"cost/{name}": float(content[name]) for name in ("parameters", "macs", "flops")}
    if "moved" in content:
        values["cost/moved"] = float(content["moved"])
        for technology in TECHNOLOGIES:
            for form in BITS:
                price = energy_of(content, form, technology)
                where = f"{form}_{technology.name.replace(' ', '')}"
                values[f"cost/uj_{where}"] = 1e-6 * (price.arithmetic if price.total is None else price.total)
    points = [*content["latency"], *content["length_scan"]]
    if all("steady" in point for point in points):
        values["cost/busy_points"] = float(sum(not point["steady"] for point in points))
    for point in content["latency"]:
        values[f"cost/ms_batch{point['batch_size']}"] = point["milliseconds"]["median"]
        values[f"cost/jets_per_second_batch{point['batch_size']}"] = point["jets_per_second"]
        if "pipelined_jets_per_second" in point:
            values[f"cost/pipelined_jets_per_second_batch{point['batch_size']}"] = point["pipelined_jets_per_second"]
    for point in content["length_scan"]:
        values[f"cost/ms_{point['particles']}particles"] = point["milliseconds"]["median"]
        if point["peak_memory_mb"] is not None:
            values[f"cost/mb_{point['particles']}particles"] = point["peak_memory_mb"]
    return values


def flat_closeness(contents: Iterable[tuple[Path, Mapping[str, Any]]], run: Run) -> tuple[dict[str, float], list[Path]]:
    """Distances of the data sets that a training made: ``generated/w1_mass``, ``reco/w1_mass`` and ``..._floor``.

    Of several sets of a kind the names hold that of the set: ``generated/<set>/w1_mass``.

    Args:
        contents: each ``closeness.json`` and its content.
        run: the training.

    Returns:
        Metrics, and the files that they are of.
    """
    own = [(path, content) for path, content in contents if Run(**content["run"]) == run]
    values: dict[str, float | None] = {}
    for (_, content), prefix in zip(own, prefixes([content for _, content in own]), strict=True):
        for name, found in content["observables"].items():
            values[f"{prefix}/w1_{name}"] = found["w1"]
            values[f"{prefix}/w1_{name}_floor"] = found["floor"] and found["floor"]["mean"]
    return _finite(values), [path for path, _ in own]


def prefixes(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the metrics of derived data sets begin; where a training made several of a kind, with the name of the set."""
    made = [(content["derived"], Run(**content["run"])) for content in contents]
    return [
        DERIVED.get(kind, kind) + (f"/{content['set']}" if made.count((kind, run)) > 1 else "")
        for content, (kind, run) in zip(contents, made, strict=True)
    ]


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
