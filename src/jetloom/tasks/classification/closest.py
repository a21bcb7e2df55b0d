"""Which part of a mixture comes closest to the truth, by what a classifier of the parts says of true jets."""

import math

from jetloom.drawing.cells import PARTS, Cell, Records, Table, changed_footnote, made, model_cell, value_cell
from jetloom.drawing.names import in_text
from jetloom.results.collection import DataSet
from jetloom.results.over_seeds import mean_value
from jetloom.tasks.classification.over_seeds import ranked


def closest(dataset: DataSet) -> Table | None:
    """Negative log posterior of each part of a mixture; None: no jets were assigned to them."""
    asked = dataset.first.get("posteriors")
    if asked is None:
        return None
    entries, names = ranked(dataset), list(asked["values"])
    columns = [Cell("Tagger"), *(Cell(in_text(name), hint="−⟨ln p⟩ of the true jets, in nats") for name in names)]
    found = {
        entry.model: [
            mean_value([result.metrics["posteriors"]["values"][name] for result in entry.results]) for name in names
        ]
        for entry in entries
    }
    rows = []
    for entry in entries:
        values = found[entry.model]
        rows.append((entry.model, [model_cell(entry), *(value_cell(value, value == min(values)) for value in values)]))
    records = [
        (entry.model, *made([number for value in found[entry.model] for number in value[:4]], "metrics"))
        for entry in entries
    ]
    note = (
        f"A tagger that tells the parts of this mixture apart is asked of {asked['jets']:,} {dataset.words.things} of "
        "the data set that they should be like, which it has never seen: the mean negative logarithm of the "
        f"probability that it gives to each part, in nats. The lowest is the closest to the truth; ln {len(names)} = "
        f"{math.log(len(names)):.3f} for all where the parts cannot be told apart. Uncertainties: "
        f"{dataset.words.things} and spread over seeds."
    )
    headings = [f"posterior_{name}{part}" for name in names for part in PARTS]
    return Table(
        "Which part comes closest to the truth", note, columns, rows, changed_footnote(entries),
        Records(("model", *headings), records, [entry.results for entry in entries]),
    )  # fmt: skip
