"""What the report shows of taggers."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from jetloom.drawing.cells import Table
from jetloom.drawing.names import in_text
from jetloom.drawing.numbers import significant, with_uncertainties
from jetloom.results.collection import DataSet, Entry, Task
from jetloom.results.over_seeds import over_seeds
from jetloom.statistics.values import Difference
from jetloom.tasks.classification import figures
from jetloom.tasks.classification.closest import closest
from jetloom.tasks.classification.dependence import dependence
from jetloom.tasks.classification.labels import labels, table_of_labels
from jetloom.tasks.classification.laws import drawing as drawing_of_laws
from jetloom.tasks.classification.laws import table as table_of_laws
from jetloom.tasks.classification.over_seeds import (
    accuracy_difference,
    background,
    mean_confusion,
    rejection_at,
    rejection_difference,
)
from jetloom.tasks.classification.paired import auc_difference, median_result
from jetloom.tasks.classification.tables import multiplicity, pairs, rejection_cell, rejections, working_point
from jetloom.tasks.classification.training_sizes import samples
from jetloom.tasks.shows import Behind, Kind, Metric, Show, enumerated

FIGURES: dict[str, Kind] = {
    "roc": Kind(
        figures.roc,
        "Background rejection against signal efficiency",
        "Each panel: one signal class against the background class {background}. Further up is better. Lines are means "
        "over seeds, bands the uncertainty of the mean: 68 % interval of a bootstrap over jets, and spread over "
        "seeds. The dotted line marks the working point of the table. A curve ends where less than one of the "
        "{background_jets} background jets is left.",
        leads=True,
    ),
    "rejection": Kind(
        figures.rejection,
        "Background rejection at the working points",
        "Bars start at 1, where nothing is rejected; an open bar with an arrow is a lower limit, because less than one "
        "background jet survives the cut. Black lines: jets and seeds in quadrature. Two bars whose lines overlap "
        "are not to be told apart with these jets.",
    ),
    "confusion": Kind(
        figures.confusion,
        "Which class is taken for which",
        "Rows are true classes and add up to 100 %; empty cells hold less than half a percent. Best tagger first. "
        "The colour follows the square root of the share, so that small confusions show. Mean over seeds.",
    ),
    "scores": Kind(
        figures.scores,
        "Distribution of the discriminant",
        "Solid: {thing} of the class itself; dashed: {background}. The better the tagger, the less the two overlap. A "
        "dashed line that stays high on the right is background that no cut removes. Zero: undecided; the outermost "
        "bins hold what lies beyond. Mean over seeds.",
    ),
    "dependence": Kind(
        dependence,
        "Accuracy for different jets",
        "Each bin holds a sixth of the test jets (thin lines: edges). Error bars: binomial and spread over seeds, "
        "in quadrature. The mix of classes changes from bin to bin, so part of the shape is physics and not the "
        "tagger; differences between taggers inside one bin are the taggers'.",
    ),
}
FIGURES_OF_SIZE: dict[str, Kind] = {
    "samples": Kind(
        samples,
        "What more training {thing} bring",
        "The same test {thing} throughout; both axes are logarithmic, so a power law is a straight line. Left: the "
        "share of wrong answers, lower is better; others: background rejection at the working point of the first two "
        "classes for which it is measured everywhere, higher is better. Error bars: {thing} and seeds in quadrature.",
        compares=True,
    ),
    "laws": Kind(
        drawing_of_laws,
        "How the taggers improve with size",
        "Taggers that differ in one number, or in the number of training {thing}. Lines: limit + B / x^exponent, "
        "fitted to the means over seeds where there are four sizes or more; bands: 68 % of a bootstrap over seeds. "
        "Both axes are logarithmic: a line that stays straight has not met its limit yet. Error bars: seeds alone, as "
        "all of them see the same test {thing}. The table of power laws has the numbers.",
        compares=True,
    ),
    "labels": Kind(
        labels,
        "What pre-training buys, by the number of labelled {thing}",
        "Only so many training {thing} have a label, equally many of each class and drawn anew for each seed; every "
        "training takes the same number of steps. Above: the share of wrong answers, lower is better, and background "
        "rejections, higher is better. Below: difference to the same network from scratch with the same labels; of "
        "wrong answers paired by seed and by single {thing}, of rejections not. Bands: {thing} and seeds in "
        "quadrature; where all seeds start from one pre-training, its own spread is not in them.",
        leads=True,
        of_labels=True,
    ),
}


class Classification(Show):
    """Accuracy, AUC and background rejections of taggers."""

    model = "tagger"
    figures = FIGURES
    figures_of_size = FIGURES_OF_SIZE
    curves: ClassVar = {"loss": "Cross entropy [nats]", "accuracy": "Accuracy"}
    title = "Accuracy and cost"
    behind = Behind(
        "Behind the best [%]",
        "percentage points of accuracy; only jets that one of the two gets right count",
        "the most accurate one",
    )
    pairing = "both were tested on the same jets, so that what both get right or wrong cancels"

    def subject(self, task: Task) -> str:
        """A data set is that of its taggers."""
        return ""

    def heading(self, dataset: DataSet) -> str:
        """Its title alone."""
        return dataset.title

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Accuracy, AUC, cross entropy, and the rejection of each signal class at its working point."""
        points = dataset.first["values"]["rejection"]
        return [
            Metric("accuracy", "Accuracy", "higher", lambda entry: over_seeds(entry, "accuracy"), "accuracy",
                   difference=accuracy_difference),
            Metric("auc", "AUC", "higher", lambda entry: over_seeds(entry, "auc"), "auc", "macro one-vs-one",
                   difference=_auc_difference),
            Metric("loss", "Cross entropy", "lower", lambda entry: over_seeds(entry, "loss"), "loss", shown=False),
            *(_rejection(name, point["efficiency"]) for name, point in points.items()),
        ]  # fmt: skip

    def tables(self, dataset: DataSet, datasets: Sequence[DataSet]) -> dict[str, Table | None]:
        """Rejections, paired differences, accuracy by multiplicity, by labels; power laws, closeness to the truth."""
        return {"rejections": rejections(dataset), "pairs": pairs(dataset), "multiplicity": multiplicity(dataset),
                "labels": table_of_labels(dataset), "laws": table_of_laws(dataset, datasets),
                "closest": closest(dataset)}  # fmt: skip

    def words(self, dataset: DataSet) -> dict[str, str]:
        """The background class and its jets."""
        points, name = dataset.first["values"]["rejection"], background(dataset)
        return {
            "background": in_text(name) if name else f"{dataset.words.things} of all other classes",
            "background_jets": f"{next(iter(points.values()))['background_jets']:,}" if points else "",
        }

    def guessing(self, dataset: DataSet) -> dict[str, float]:
        """Cross entropy of equal scores."""
        return {"loss": math.log(len(dataset.classes))} if len(dataset.classes) > 1 else {}

    def verdict(self, dataset: DataSet, entries: list[Entry]) -> str:
        """Which tagger is most accurate, and whether the next ones can be told apart from it."""
        best, *others = entries
        accuracy = over_seeds(best, "accuracy")
        written = " ± ".join(with_uncertainties(accuracy.value or 0.0, accuracy.combined))
        chance = max(dataset.first["per_class"].values()) / dataset.jets
        text = f"{best.title} is the most accurate: {written} (guessing: {significant(chance, 2)})."
        if not others:
            return text
        close = [entry.title for entry in self.metrics(dataset)[0].close(best, others)]
        if not close:
            difference = accuracy_difference(best, others[0])
            gap = with_uncertainties(100 * difference.value, 100 * difference.uncertainty)
            return f"{text} {others[0].title} follows {' ± '.join(gap)} percentage points behind."
        return (
            f"{text} {enumerated(close)} {'is' if len(close) == 1 else 'are'} less than two standard deviations "
            f"behind: these {dataset.words.things} do not tell them apart."
        )

    def worse(self, best: Entry, other: Entry) -> str:
        """In percentage points."""
        return f"is {significant(100 * accuracy_difference(best, other).value, 2)} points less accurate"

    def detail(self, dataset: DataSet, best: Entry) -> str:
        """The easiest and the hardest class, and what is taken for what."""
        matrix = mean_confusion(best)
        own = matrix.diagonal()
        easy, hard = int(own.argmax()), int(own.argmin())
        wrong = matrix - np.diag(own)
        true, given = np.unravel_index(wrong.argmax(), wrong.shape)
        name = [in_text(item) for item in dataset.classes]
        return (
            f"For {best.title}, {name[easy]} is the easiest class ({100 * own[easy]:.0f} % found) and {name[hard]} the "
            f"hardest ({100 * own[hard]:.0f} %); the most frequent confusion is {name[true]} taken for {name[given]} "
            f"({100 * wrong[true, given]:.0f} % of {name[true]})."
        )


def _rejection(signal: str, efficiency: float) -> Metric:
    def difference(first: Entry, second: Entry) -> Difference | None:
        return rejection_difference(*(rejection_at(entry, signal, efficiency) for entry in (first, second)))

    return Metric(
        f"rejection_{signal}", working_point(signal, efficiency), "higher",
        lambda entry: rejection_at(entry, signal, efficiency), table="rejections", difference=difference,
        cell=lambda value: rejection_cell(value, f"{value.seeds} seeds"),
    )  # fmt: skip


def _auc_difference(first: Entry, second: Entry) -> Difference:
    """Of the means over seeds; the uncertainty is that of the trainings of median accuracy, and the seeds'."""
    paired = auc_difference(median_result(first), median_result(second))
    values = [over_seeds(entry, "auc") for entry in (second, first)]
    error = math.hypot(paired.uncertainty, *((value.spread or 0.0) / math.sqrt(value.seeds) for value in values))
    return Difference((values[1].value or 0.0) - (values[0].value or 0.0), error)


SHOW = Classification()
