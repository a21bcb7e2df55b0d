"""What the report shows of every pre-training: how much of the classes its encoder knows, beside a random one."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from jetloom.drawing.cells import Cell, Table, changed_footnote, model_cell, value_cell
from jetloom.drawing.numbers import with_uncertainties
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.shows import Metric, Show, enumerated

COLUMNS = {
    "probe_accuracy": ("Linear probe", "trained encoder, frozen; logistic regression with the labels"),
    "random_probe_accuracy": ("Random encoder", "the same of random weights, of the same seeds"),
    "probe_gain": ("Gain", "trained less random, on the same jets"),
    "knn_accuracy": ("Neighbours", "trained encoder, frozen; vote of the 20 nearest by cosine"),
    "random_knn_accuracy": ("Random encoder", "the same of random weights, of the same seeds"),
    "knn_gain": ("Gain", "trained less random, on the same jets"),
}


class Probed(Show):
    """Accuracies of probes on frozen encoders."""

    model = "pre-training"
    title = "Frozen encoders and cost"
    curves: ClassVar = {"loss": "Loss", "accuracy": "Accuracy"}

    def heading(self, dataset: DataSet) -> str:
        """The data set and the task."""
        return f"{dataset.title}: {dataset.task.name.replace('_', ' ')} pre-training, without labels"

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Linear probe and neighbours, and the gain over a random encoder."""
        del dataset
        shown = ("probe_accuracy", "probe_gain", "knn_accuracy", "knn_gain")
        return [
            Metric(name, title if "gain" not in name else f"{title} over random", "higher",
                   partial(over_seeds, name=name), name, hint, shown=name in shown)
            for name, (title, hint) in COLUMNS.items()
        ]  # fmt: skip

    def tables(self, dataset: DataSet, datasets: Sequence[DataSet]) -> dict[str, Table | None]:
        """Probes of the trained and of the random encoder."""
        entries = self.ranked(dataset)
        how = dataset.first["probe"]
        columns = [Cell("Model"), *(Cell(title, hint=hint) for title, hint in COLUMNS.values())]
        rows = [
            (entry.model, [model_cell(entry), *(value_cell(over_seeds(entry, name)) for name in COLUMNS)])
            for entry in entries
        ]
        note = (
            f"Learnt from {how['training_jets']:,} training {dataset.words.things} with labels, asked about "
            f"{how['test_jets']:,} test {dataset.words.things}. A random encoder knows a lot already: what counts is "
            f"the gain. ± test {dataset.words.things} (68 %) ± spread over seeds."
        )
        return {"probes": Table("Frozen encoders", note, columns, rows, changed_footnote(entries))}

    def verdict(self, dataset: DataSet, entries: list[Entry]) -> str:
        """How much the best encoder knows, and whether it is more than a random one does."""
        best, *others = entries
        found, gain = over_seeds(best, "probe_accuracy"), over_seeds(best, "probe_gain")
        value, points = 100 * (gain.value or 0.0), 100 * (gain.combined or 0.0)
        clear = abs(value) > 2 * points
        written = " ± ".join(with_uncertainties(abs(value), points))
        text = f"A linear probe on what {best.title} learnt without labels is right in {100 * (found.value or 0):.1f} %"
        if clear:
            text += f": {written} points {'more' if value > 0 else 'less'} than on a random encoder."
        else:
            text += f", no clear gain over a random encoder ({'−' if value < 0 else '+'}{written} points)."
        return text if not others else f"{text} {enumerated([entry.title for entry in others])} come behind it."
