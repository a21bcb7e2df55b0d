"""The table of networks in fewer bits: what is left of each figure of merit, and what is lost of the first."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from jetloom.drawing.cells import PARTS, Cell, Records, Table, changed_footnote, difference_cell, made, model_cell
from jetloom.drawing.numbers import significant
from jetloom.report.shows import show_of
from jetloom.results.collection import DataSet, Entry
from jetloom.statistics.values import Difference, spread
from jetloom.tasks.shows import Metric


def in_fewer_bits(dataset: DataSet) -> Table | None:
    """One row for each model and format that was asked for; None: none was (``evaluation.quantised``)."""
    entries = (
        [entry for entry in show_of(dataset.task.name).ranked(dataset) if _formats(entry)] if dataset.evaluated else []
    )
    if not entries:
        return None
    show = show_of(dataset.task.name)
    metrics = [metric for metric in show.metrics(dataset) if metric.shown]
    lead = metrics[0]
    columns = [
        Cell(show.model.capitalize()), Cell("Format"), Cell(lead.title, hint=lead.hint),
        Cell("Lost [%]", hint=f"of {lead.title[0].lower()}{lead.title[1:]} in float32, on the same test "
             f"{dataset.words.things}, times 100"),
        *(Cell(metric.title, hint=metric.hint) for metric in metrics[1:]), Cell("File [MB]", hint="ONNX"),
    ]  # fmt: skip
    rows, numbers, runs = [], [], []
    for entry in entries:
        for form in _formats(entry):
            contents = [result.metrics["quantised"][form] for result in entry.results]
            refused = next((content["refused"] for content in contents if "refused" in content), None)
            row: list[Any] = [entry.model, form]
            if refused:
                rows.append((entry.model, [model_cell(entry), Cell(form, form), Cell("not available", None, refused),
                                           *[Cell("–", None)] * (len(metrics) + 1)]))  # fmt: skip
                numbers.append([*row, refused, *[None] * (len(PARTS) * len(metrics) + 3)])
            else:
                fewer, lost = quantised(entry, form), _lost(lead, entry, form)
                size = float(np.mean([content["megabytes"] for content in contents]))
                rows.append((entry.model, [
                    model_cell(entry), Cell(form, form, contents[0]["how"]), lead.written(fewer),
                    difference_cell(lost, 100) if lost else Cell("–", None),
                    *(metric.written(fewer) for metric in metrics[1:]), Cell(significant(size), size),
                ]))  # fmt: skip
                told = [number for metric in metrics for number in (metric.of(fewer) or (None,) * 4)[:4]]
                numbers.append([*row, "", *made([*told, *(lost or (None, None)), size], "metrics")])
            runs.append(entry.results)
    names = [metric.name + part for metric in metrics for part in PARTS]
    records = Records(["model", "format", "refused", *names, "lost", "lost_uncertainty", "megabytes"], numbers, runs)
    how = dict.fromkeys(
        f"{form}: {content['how']}"
        for entry in entries for result in entry.results
        for form, content in result.metrics["quantised"].items() if "how" in content
    )  # fmt: skip
    refusals = dict.fromkeys(
        content["refused"]
        for entry in entries for result in entry.results
        for content in result.metrics["quantised"].values() if "refused" in content
    )  # fmt: skip
    note = "Through the exported file in onnxruntime, on the CPU. " + ". ".join([*how, *refusals]) + "."
    return Table("In fewer bits", note, columns, rows, changed_footnote(entries), records)


def _formats(entry: Entry) -> list[str]:
    """Those that all seeds of a model were evaluated in; evaluations of earlier versions have none."""
    first, *others = [result.metrics.get("quantised") or {} for result in entry.results]
    return [form for form in first if all(form in other for other in others)]


def quantised(entry: Entry, form: str) -> Entry:
    """The model as if its figures of merit were those in a format."""
    return replace(
        entry,
        results=[
            replace(result, metrics=result.metrics | {"values": result.metrics["quantised"][form]["values"]})
            for result in entry.results
        ],
    )


def _lost(lead: Metric, entry: Entry, form: str) -> Difference | None:
    """Float32 less the format, mean over seeds, with jets and the mean over seeds in quadrature."""
    contents = [result.metrics["quantised"][form]["lost"].get(lead.key) for result in entry.results]
    if None in contents:
        return None
    values = [content["value"] for content in contents]
    error = float(np.mean([(content["high"] - content["low"]) / 2 for content in contents]))
    return Difference(float(np.mean(values)), math.hypot(error, (spread(values) or 0.0) / math.sqrt(len(values))))
