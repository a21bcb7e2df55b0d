"""A paper's own table, rebuilt: our line, the published line, and what lies between them."""

from collections.abc import Sequence
from typing import Any

from jetloom.drawing.cells import (
    Cell,
    Records,
    Table,
    changed_footnote,
    changed_mark,
    commits_cell,
    made,
    run_link,
    value_cell,
)
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import fixed, scaled, significant
from jetloom.report.papers.published import Printed
from jetloom.report.papers.rebuilt import Line, Rebuilt, made_from, measured, pull
from jetloom.results.collection import Result
from jetloom.statistics.values import Value
from jetloom.tasks.classification.tables import rejection_cell, working_point

MARKS = {"read": "", "second-hand": "†", "recalled": "‡"}
FOOTNOTES = {
    "second-hand": ("†", "quoted by others, not read in the paper itself"),
    "recalled": ("‡", "recalled, not read again anywhere: for orientation only"),
}
COUNTS = {
    "parameters": "Parameters",
    "flops": "FLOPs",
    "flops_50": "FLOPs, 50 particles",
    "macs": "MACs, 128 particles",
    "profiler_flops": "FLOPs, TensorFlow's profiler",
    "peak_memory_mb": "Peak memory [MB]",
    "device_hours": "Device-hours",
}
"""Numbers without an uncertainty."""
MACHINES = ("peak_memory_mb", "device_hours")
"""Those of different machines: shown, never compared."""


def paper_table(rebuilt: Rebuilt) -> Table:
    """Lines per tagger: ours, published, and for like with like the difference in units of the combined uncertainty."""
    performance, counts = rebuilt.performance, _counts(rebuilt)
    columns = [Cell("Tagger"), Cell("Line")]
    columns += [Cell(metric_title(metric, rebuilt), hint=metric) for metric in performance]
    columns += [Cell(COUNTS[metric]) for metric in counts]
    columns += [
        Cell("Like with like", hint="decided from manifest and training.json"),
        Cell("Runs or source"),
        Cell("Data", hint="digest of the tensors' manifest"),
        Cell("Commit"),
    ]
    numbers = _source_numbers(rebuilt, (*performance, *counts))
    rows = []
    for line in rebuilt.lines:
        leading = _leading(line, rebuilt, performance)
        if line.entry is not None:
            rows.append((line.entry.model, _ours(line, rebuilt, performance, counts, leading)))
        if line.row.values:
            rows.append((_color(line), _theirs(line, rebuilt, performance, counts, leading, numbers)))
        if line.alike and line.row.values:
            rows.append((_color(line), _difference(line, rebuilt, performance, counts, leading)))
    statuses = {
        value.source.status
        for line in rebuilt.lines
        for metric in (*performance, *counts)
        if (value := rebuilt.table.value(line.name, metric))
    }
    footnotes = [FOOTNOTES[status] for status in FOOTNOTES if status in statuses]
    footnotes += [(number, text) for text, number in numbers.items()]
    entries = [line.entry for line in rebuilt.lines if line.entry is not None]
    return Table(
        f"{rebuilt.table.title}: ours and published",
        _note(rebuilt),
        columns,
        rows,
        (*footnotes, *changed_footnote(entries)),
        records(rebuilt),
    )


def metric_title(metric: str, rebuilt: Rebuilt | None = None) -> str:
    """A metric in words."""
    if metric in ("accuracy", "auc"):
        return {"accuracy": "Accuracy", "auc": "AUC"}[metric]
    what = metric.removeprefix("rejection_")
    if what == "mean":
        return "Mean rejection"
    if what.isdigit():
        return f"Rejection {what}\u00a0%"
    if rebuilt is not None:
        for line in rebuilt.lines:
            if line.dataset is not None and what in line.dataset.first["values"]["rejection"]:
                efficiency = line.dataset.first["values"]["rejection"][what]["efficiency"]
                return working_point(what, efficiency)
    return in_text(what)


def records(rebuilt: Rebuilt) -> Records:
    """One row for each tagger and metric, unrounded, and our trainings behind it."""
    columns = ("tagger", "model", "dataset", "metric", "ours", "ours_low", "ours_high", "ours_seed_spread", "seeds",
               "published", "published_spread", "source", "status", "like_with_like", "differences", "sigma",
               "seeds_list", "mlflow_runs", "data_digest", "commit", "uncommitted_changes")  # fmt: skip
    rows: list[Sequence[Any]] = []
    trainings: list[list[Result]] = []
    for line in rebuilt.lines:
        for metric in (*rebuilt.performance, *_counts(rebuilt)):
            theirs = rebuilt.table.value(line.name, metric)
            ours = _measured(line, metric)
            if theirs is None and ours is None:
                continue
            source = (theirs.value, theirs.spread, theirs.source.text, theirs.source.status) if theirs else (None,) * 4
            results = line.entry.results if line.entry else []
            trainings.append(results)
            training = [result.training for result in results]
            roles = made_from(line.entry, metric) if line.entry else ()
            rows.append((
                line.row.title, line.entry.model if line.entry else line.row.run or line.name,
                line.dataset.name if line.dataset else line.row.dataset or rebuilt.table.dataset, metric,
                *made(ours[:4] if ours else (None,) * 4, *roles), len(results) or None, *source,
                *made((line.alike if line.entry else None, "; ".join(line.differences)), "training"),
                *made((_pull(line, rebuilt, metric),), *roles),
                *made((
                    " ".join(str(result.seed) for result in results),
                    " ".join((facts.get("mlflow") or {}).get("run_id") or "-" for facts in training),
                    line.dataset.manifest["digest"] if line.dataset else None,
                    " ".join(sorted({(facts.get("git") or {}).get("commit") or "-" for facts in training})),
                    any((facts.get("git") or {}).get("dirty") for facts in training) if training else None,
                ), "training"),
            ))  # fmt: skip
    return Records(columns, rows, trainings)


def _note(rebuilt: Rebuilt) -> str:
    alike = [line.row.title for line in rebuilt.lines if line.alike and line.row.values]
    others = [line for line in rebuilt.lines if line.entry is not None and not line.alike]
    parts = [f"Published: {rebuilt.table.paper}."]
    if alike:
        parts.append(
            f"Like with like: {', '.join(alike)}. Difference: ours less published over the combined uncertainty; where "
            "no uncertainty is printed, that of the published test jets and of the last digit stands for it."
        )
    if others:
        parts.append(
            "Not like with like, so no reproduction and no difference: "
            + "; ".join(f"{line.row.title} ({', '.join(line.differences)})" for line in others)
            + "."
        )
    seeds = {len(line.entry.results) for line in rebuilt.lines if line.entry is not None}
    if seeds == {1}:
        parts.append("Ours: one training each, the spread over seeds is unknown.")
    else:
        parts.append(
            "Ours: mean over seeds ± test jets (68 %) ± spread of one training (standard deviation over seeds)."
        )
    return " ".join(parts)


def _counts(rebuilt: Rebuilt) -> list[str]:
    published = {metric for line in rebuilt.lines for metric in line.row.values if metric in COUNTS}
    published |= {"parameters", "device_hours"}
    if "profiler_flops" in published or not published & {"macs", "flops_50"}:
        published.add("flops")
    return [metric for metric in COUNTS if metric in published]


def _measured(line: Line, metric: str) -> Value | None:
    return measured(line.entry, line.dataset, metric) if line.entry and line.dataset else None


def _pull(line: Line, rebuilt: Rebuilt, metric: str) -> float | None:
    theirs, ours = rebuilt.table.value(line.name, metric), _measured(line, metric)
    if not line.alike or theirs is None or ours is None or line.dataset is None or metric in COUNTS:
        return None
    return pull(ours, theirs, metric, rebuilt.table, line.dataset.jets)


def _leading(line: Line, rebuilt: Rebuilt, metrics: list[str]) -> dict[str, float | None]:
    """By which the lines of a tagger are sorted together: our value, else the published one."""
    leading: dict[str, float | None] = {}
    for metric in metrics:
        ours, theirs = _measured(line, metric), rebuilt.table.value(line.name, metric)
        leading[metric] = ours.value if ours and ours.value is not None else theirs.value if theirs else None
    return leading


def _tagger(line: Line, what: str, mark: str = "") -> list[Cell]:
    title = line.row.title
    return [Cell(title, title.lower(), line.name, mark=mark), Cell(what, f"{title.lower()} {what}")]


def _ours(
    line: Line, rebuilt: Rebuilt, performance: list[str], counts: list[str], leading: dict[str, float | None]
) -> list[Cell]:
    assert line.entry is not None and line.dataset is not None
    cells = _tagger(line, "ours", changed_mark(line.entry))
    for metric in performance:
        figure = _measured(line, metric)
        if figure is None:
            cells.append(Cell("–", leading[metric], "not evaluated"))
        elif metric.startswith("rejection"):
            cells.append(rejection_cell(figure, f"seeds: {figure.seeds}"))
        else:
            cells.append(value_cell(figure))
    for metric in counts:
        figure = _measured(line, metric)
        cells.append(_count(metric, figure.value if figure else None))
    verdict = Cell("yes", 1) if line.alike else Cell("no", 0, "; ".join(line.differences))
    if line.alike and not line.row.values:
        verdict = Cell("nothing published", 0)
    links = [run_link(result, f"seed {result.seed}") for result in line.entry.results]
    digest = line.dataset.manifest["digest"]
    seeds = ", ".join(f"seed {result.seed}" for result in line.entry.results)
    cells += [
        verdict,
        Cell(seeds, 0, links=tuple(link for link in links if link)),
        Cell(digest[:12], digest, digest),
        commits_cell(line.entry),
    ]
    return cells


def _theirs(
    line: Line,
    rebuilt: Rebuilt,
    performance: list[str],
    counts: list[str],
    leading: dict[str, float | None],
    numbers: dict[str, str],
) -> list[Cell]:
    cells = _tagger(line, "published")
    sources = []
    for metric in (*performance, *counts):
        theirs = rebuilt.table.value(line.name, metric)
        if theirs is None:
            cells.append(Cell("–", leading.get(metric)))
            continue
        sources.append(_source(theirs))
        if metric in COUNTS:
            text = theirs.printed if metric in MACHINES else _count(metric, theirs.value).text
            cells.append(Cell(text, theirs.value, sources[-1], mark=MARKS[theirs.source.status]))
        else:
            spread = () if theirs.spread is None else (_like_printed(theirs, theirs.spread),)
            text = _like_printed(theirs, theirs.value)
            cells.append(Cell(text, leading[metric], sources[-1], spread, mark=MARKS[theirs.source.status]))
    cells += [
        Cell("–", None),
        Cell(" ".join(dict.fromkeys(numbers[source] for source in sources)), hint="; ".join(dict.fromkeys(sources))),
        Cell("–", None),
        Cell("–", None),
    ]
    return cells


def _difference(
    line: Line, rebuilt: Rebuilt, performance: list[str], counts: list[str], leading: dict[str, float | None]
) -> list[Cell]:
    cells = _tagger(line, "difference [σ]")
    for metric in performance:
        sigma = _pull(line, rebuilt, metric)
        if sigma is None:
            cells.append(Cell("–", leading[metric]))
        else:
            text = fixed(sigma, 1)
            cells.append(Cell(text if text.startswith("−") else f"+{text}", leading[metric]))
    for metric in counts:
        theirs, ours = rebuilt.table.value(line.name, metric), _measured(line, metric)
        if metric not in ("parameters", "profiler_flops") or theirs is None or ours is None or ours.value is None:
            cells.append(Cell("–", None))
        else:
            relative = ours.value / theirs.value - 1
            text = (
                "equal" if relative == 0 else f"{'+' if relative > 0 else '−'}{significant(abs(100 * relative), 2)} %"
            )
            cells.append(Cell(text, relative))
    return [*cells, *(Cell("–", None) for _ in range(4))]


def _source(theirs: Printed) -> str:
    return f"{theirs.source.text} ({theirs.source.status})"


def _source_numbers(rebuilt: Rebuilt, metrics: Sequence[str]) -> dict[str, str]:
    """Sources by the number under which the footnotes list them."""
    values = [rebuilt.table.value(line.name, metric) for line in rebuilt.lines for metric in metrics]
    texts = dict.fromkeys(_source(value) for value in values if value is not None)
    return {text: f"[{number}]" for number, text in enumerate(texts, start=1)}


def _count(metric: str, value: float | None) -> Cell:
    if value is None:
        return Cell("–", None)
    if metric in MACHINES:
        return Cell(significant(value, 2), value)
    return Cell(scaled(value), value, f"{value:,.0f}")


def _like_printed(theirs: Printed, value: float) -> str:
    places = len(theirs.printed.partition(".")[2])
    return fixed(value, places)


def _color(line: Line) -> str:
    return line.entry.model if line.entry else line.row.run or line.name
