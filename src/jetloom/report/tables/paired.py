"""Models against the best one on the same jets, and accuracy by the number of particles."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.drawing.cells import Cell, Table, changed_footnote, changed_mark, figure_cell
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import Figure, fixed, with_uncertainties
from jetloom.results.collect import DataSet, Entry
from jetloom.results.over_seeds import Difference, accuracy_difference, ranked
from jetloom.tasks.classification.paired import (
    Counts,
    auc_difference,
    check_same_jets,
    mcnemar,
    median_result,
    survivors_of_one,
)

BINS = 4


def pairs(dataset: DataSet) -> Table | None:
    """Every model against the most accurate one, jet by jet; None with a single model."""
    entries = ranked(dataset)
    if len(entries) < 2:
        return None
    best = entries[0]
    points = dataset.first["values"]["rejection"]
    columns = [
        Cell("Tagger"),
        Cell("Accuracy [points]", hint="mean over seeds; jets that both get right or wrong cancel"),
        Cell("AUC", hint="DeLong's paired estimate, trainings of median accuracy"),
        Cell(f"Only {best.title} right", hint="jets, trainings of median accuracy"),
        Cell("Only this one right"),
        Cell("McNemar p", hint="exact, two-sided: so uneven a split if both are equally good"),
    ]
    columns += [Cell(f"Leak p, {in_text(name)}", hint="exact test on the background jets that pass one cut only")
                for name in points]  # fmt: skip
    rows, records = [], []
    reference = median_result(best)
    for entry in entries[1:]:
        other = median_result(entry)
        check_same_jets(reference, other, f"{dataset.name}: {best.model} and {entry.model}")
        accuracy, auc = accuracy_difference(entry, best), auc_difference(other, reference)
        verdict = mcnemar(reference.correct, other.correct)
        leaks = [_leak(dataset, entry, best, name, point["efficiency"]) for name, point in points.items()]
        rows.append((entry.model, [
            Cell(entry.title, entry.title.lower(), entry.model, mark=changed_mark(entry)),
            _difference(accuracy, 100), _difference(auc, 1),
            Cell(f"{verdict.first_only:,}", verdict.first_only), Cell(f"{verdict.second_only:,}", verdict.second_only),
            _p_value(verdict), *(_p_value(leak) for leak in leaks),
        ]))  # fmt: skip
        records.append((entry.model, best.model, *accuracy, *auc, *verdict, *(leak.p_value for leak in leaks)))
    note = (
        f"Difference to {best.title} on the same {dataset.jets:,} {dataset.thing}; ± as far as chance in these "
        f"{dataset.thing} (and for the accuracy in the seeds) can explain it. A p below 0.05 for one pair in twenty is "
        "what chance alone gives."
    )
    names = ("model", "reference", "accuracy_difference", "accuracy_uncertainty", "auc_difference", "auc_uncertainty",
             "reference_only_right", "model_only_right", "mcnemar_p",
             *(f"leak_p_{name}" for name in points))  # fmt: skip
    return Table(
        f"Against {best.title}, jet by jet", note, columns, rows, changed_footnote(entries), (names, records),
        [[*entry.results, *best.results] for entry in entries[1:]],
    )  # fmt: skip


def multiplicity(dataset: DataSet) -> Table | None:
    """Accuracy of every model in bins of the number of particles, as in the SAL-T paper; None where it is unknown."""
    observers = dataset.entries[0].results[0].predictions.observers
    if "jet_nparticles" not in observers:
        return None
    counts = np.minimum(observers["jet_nparticles"], dataset.manifest["max_particles"])
    edges = np.linspace(0, dataset.manifest["max_particles"], BINS + 1).astype(int)
    inside = [
        (counts >= low) & ((counts < high) if high != edges[-1] else (counts <= high)) for low, high in pairwise(edges)
    ]
    spans = [
        f"{low} to {high - 1 if high != edges[-1] else high}" for low, high in pairwise(edges.tolist())
    ]  # fmt: skip
    kept = [(span, chosen) for span, chosen in zip(spans, inside, strict=True) if chosen.any()]
    entries = ranked(dataset)
    rows: list[tuple[str, list[Cell]]] = []
    records: list[Sequence[Any]] = []
    for entry in entries:
        cells = [Cell(entry.title, entry.title.lower(), entry.model, mark=changed_mark(entry))]
        for span, chosen in kept:
            figure = _share(entry, chosen)
            cells.append(figure_cell(figure))
            records.append((entry.model, span, int(chosen.sum()), *figure[:4]))
        rows.append((entry.model, cells))
    columns = [Cell("Tagger")] + [
        Cell(span, hint=f"{int(chosen.sum()):,} test {dataset.thing}") for span, chosen in kept
    ]
    return Table(
        f"Accuracy by number of {dataset.particle}",
        f"Each column: {dataset.thing} with so many {dataset.particle}, of which at most "
        f"{dataset.manifest['max_particles']} are kept. ± test {dataset.thing} (68 %, Wilson) ± spread over seeds.",
        columns,
        rows,
        changed_footnote(entries),
        (("model", "particles", "jets", "accuracy", "low", "high", "seed_spread"), records),
        [entry.results for entry in entries for _ in kept],
    )


def _share(entry: Entry, chosen: NDArray[np.bool_]) -> Figure:
    """Accuracy on some of the jets, with Wilson's interval: it holds with few jets and near one."""
    values = [float(result.predictions.correct[chosen].mean()) for result in entry.results]
    share, jets = float(np.mean(values)), int(chosen.sum())
    # One standard deviation: 68 %.
    centre = (share + 1 / (2 * jets)) / (1 + 1 / jets)
    half = math.sqrt(share * (1 - share) / jets + 1 / (4 * jets**2)) / (1 + 1 / jets)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Figure(share, centre - half, centre + half, spread, len(values))


def _leak(dataset: DataSet, entry: Entry, best: Entry, signal: str, efficiency: float) -> Counts:
    against = dataset.classes.index(dataset.background) if dataset.background else None
    return survivors_of_one(
        median_result(best), median_result(entry), dataset.classes.index(signal), against, efficiency
    )


def _difference(difference: Difference, scale: float) -> Cell:
    value, *uncertainty = with_uncertainties(scale * difference.value, scale * difference.uncertainty)
    return Cell(value, difference.value, f"{difference.sigma:.1f} standard deviations", tuple(uncertainty))


def _p_value(counts: Counts) -> Cell:
    """A p-value needs no third digit."""
    text = "< 0.001" if counts.p_value < 0.001 else fixed(counts.p_value, 3 if counts.p_value < 0.1 else 2)
    return Cell(text, counts.p_value, f"{counts.first_only:,} against {counts.second_only:,} jets")
