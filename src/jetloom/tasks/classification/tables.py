"""Background rejections, models against the best one on the same jets, accuracy by the number of particles."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetloom.drawing.cells import (
    PARTS,
    Cell,
    Records,
    Table,
    changed_footnote,
    difference_cell,
    made,
    model_cell,
    seeds,
    value_cell,
)
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import decimals, fixed, significant
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import mean_value
from jetloom.statistics.bootstrap import wilson_interval
from jetloom.statistics.values import Value
from jetloom.tasks.classification.over_seeds import (
    accuracy_difference,
    background,
    combined_interval,
    ranked,
    rejection_over_seeds,
    survivors,
)
from jetloom.tasks.classification.paired import (
    Counts,
    auc_difference,
    check_same_jets,
    mcnemar,
    median_result,
    survivors_of_one,
)
from jetloom.tasks.classification.scores import Scores

BINS = 4


def rejections(dataset: DataSet) -> Table | None:
    """Background rejection of every model for every signal class."""
    points = dataset.first["values"]["rejection"]
    if not points:
        return None
    entries = ranked(dataset)
    jets = next(iter(points.values()))["background_jets"]
    columns = [Cell("Tagger")] + [
        Cell(working_point(name, point["efficiency"]), hint=f"at signal efficiency {point['efficiency']:g}")
        for name, point in points.items()
    ]
    rows, records = [], []
    for entry in entries:
        cells = [model_cell(entry)]
        for name in points:
            hint = f"{survivors(entry, name):.3g} of {jets:,} background {dataset.words.things} survive, {seeds(entry)}"
            cells.append(rejection_cell(rejection_over_seeds(entry, name), hint))
        rows.append((entry.model, cells))
    for entry in dataset.entries:
        values = [number for name in points for number in rejection_over_seeds(entry, name)[:4]]
        records.append((entry.model, entry.title, len(entry.results), *made(values, "metrics")))
    class_ = background(dataset)
    against = in_text(class_) if class_ else "all other classes"
    discriminant = "s_S/(s_S + s_B)" if class_ else "s_S"
    note = (
        f"1/ε_B against {against} ({jets:,} test {dataset.words.things}) at the signal efficiency in the head of each "
        f"column; discriminant {discriminant}; mean background efficiency over seeds. Uncertainties: 68 % interval "
        "(bootstrap, widened to Clopper–Pearson below ten survivors) and spread over seeds in quadrature. “>”: less "
        "than one background jet survives, lower end of the interval."
    )
    names = [f"rejection_{name}{part}" for name in points for part in PARTS]
    return Table(
        "Background rejection", note, columns, rows, changed_footnote(entries),
        Records(("model", "title", "seeds", *names), records, [entry.results for entry in dataset.entries]),
    )  # fmt: skip


def working_point(signal: str, efficiency: float) -> str:
    """A signal class and the efficiency at which its background rejection is quoted."""
    return f"{in_text(signal)} {100 * efficiency:g}\u00a0%"


def rejection_cell(value: Value, hint: str) -> Cell:
    """A rejection: upper and lower uncertainty differ, and it may be a limit."""
    if value.value is None or value.low is None:
        return Cell(f"> {significant(value.low or 0, 2)}", value.low, hint)
    low, high = combined_interval(value)
    down = value.value - low
    if not down > 0:
        # So few survivors that all samples hold the same.
        return Cell(significant(value.value), value.value, hint)
    # The lower, tighter side decides on the digits of the value; the upper one may be known to fewer.
    places = decimals(down)
    text, below = fixed(value.value, places), f"−{fixed(down, places)}"
    if high is None:
        return Cell(text, value.value, f"{hint}; no upper end", above="+∞", below=below)
    up = high - value.value
    above = f"+{fixed(up, min(places, decimals(up)) if up > 0 else places)}"
    return Cell(text, value.value, hint, above=above, below=below)


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
            model_cell(entry),
            difference_cell(accuracy, 100), difference_cell(auc),
            Cell(f"{verdict.first_only:,}", verdict.first_only), Cell(f"{verdict.second_only:,}", verdict.second_only),
            _p_value(verdict), *(_p_value(leak) for leak in leaks),
        ]))  # fmt: skip
        numbers = (*accuracy, *auc, *verdict, *(leak.p_value for leak in leaks))
        records.append((entry.model, best.model, *made(numbers, "predictions", "metrics")))
    note = (
        f"Difference to {best.title} on the same {dataset.jets:,} {dataset.words.things}; ± as far as chance in these "
        f"{dataset.words.things} (and for the accuracy in the seeds) can explain it. A p below 0.05 for one pair in "
        "twenty is what chance alone gives."
    )
    names = ("model", "reference", "accuracy_difference", "accuracy_uncertainty", "auc_difference", "auc_uncertainty",
             "reference_only_right", "model_only_right", "mcnemar_p",
             *(f"leak_p_{name}" for name in points))  # fmt: skip
    return Table(
        f"Against {best.title}, jet by jet", note, columns, rows, changed_footnote(entries),
        Records(names, records, [[*entry.results, *best.results] for entry in entries[1:]]),
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
        cells = [model_cell(entry)]
        for span, chosen in kept:
            value = _share(entry, chosen)
            cells.append(value_cell(value))
            records.append((entry.model, *made((span, int(chosen.sum()), *value[:4]), "predictions")))
        rows.append((entry.model, cells))
    columns = [Cell("Tagger")] + [
        Cell(span, hint=f"{int(chosen.sum()):,} test {dataset.words.things}") for span, chosen in kept
    ]
    return Table(
        f"Accuracy by number of {dataset.words.particles}",
        f"Each column: {dataset.words.things} with so many {dataset.words.particles}, of which at most "
        f"{dataset.manifest['max_particles']} are kept. ± test {dataset.words.things} (68 %, Wilson) ± spread over "
        "seeds.",
        columns,
        rows,
        changed_footnote(entries),
        Records(
            ("model", "particles", "jets", "accuracy", "low", "high", "seed_spread"),
            records,
            [entry.results for entry in entries for _ in kept],
        ),
    )


def _share(entry: Entry, chosen: NDArray[np.bool_]) -> Value:
    """Accuracy on some of the jets, with Wilson's interval: it holds with few jets and near one."""
    jets, items = int(chosen.sum()), []
    for result in entry.results:
        right = int(result.read(Scores).correct[chosen].sum())
        low, high = wilson_interval(right, jets)
        items.append({"value": right / jets, "low": low, "high": high})
    return mean_value(items)


def _leak(dataset: DataSet, entry: Entry, best: Entry, signal: str, efficiency: float) -> Counts:
    name = background(dataset)
    against = dataset.classes.index(name) if name else None
    return survivors_of_one(
        median_result(best), median_result(entry), dataset.classes.index(signal), against, efficiency
    )


def _p_value(counts: Counts) -> Cell:
    """A p-value needs no third digit."""
    text = "< 0.001" if counts.p_value < 0.001 else fixed(counts.p_value, 3 if counts.p_value < 0.1 else 2)
    return Cell(text, counts.p_value, f"{counts.first_only:,} against {counts.second_only:,} jets")
