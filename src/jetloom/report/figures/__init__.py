"""The figures of a report: those that all tasks have, and those that a task has of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import matplotlib.pyplot as plt

from jetloom.drawing.style import Drawing, Look
from jetloom.report.figures import costs, examples, jets, learning
from jetloom.report.shows import show_of
from jetloom.results.collection import DataSet
from jetloom.tasks.shows import Kind

SHOWN = 8
"""Models that can be told apart in a figure."""
COSTS: dict[str, Kind] = {
    "scaling": Kind(
        costs.scaling,
        "Latency and memory against the number of {particle}",
        "Both axes are logarithmic, so a power law is a straight line: the grey guides rise like n and n squared. "
        "Lines and bands: {clock}. Memory: {memory}, without the model "
        "itself. On the left fixed overheads dominate; what counts for long jets is the slope on the right.",
    ),
    "throughput": Kind(
        costs.throughput,
        "Latency and throughput against the batch size",
        "Left: time for a whole batch, the flat part is overhead. Right: {thing} per second; where it stops rising, "
        "the machine is full and larger batches gain nothing. Lines and bands: {clock}. Dotted, on a GPU: batches "
        "launched before the ones before them have ended.",
    ),
}
"""Of what has a cost."""
TRAININGS: dict[str, Kind] = {
    "training": Kind(
        learning.training,
        "Training curves",
        "One line for each seed. Solid: validation; dashed: training {thing}, averaged while the epoch ran. The marker "
        "is the epoch whose weights were evaluated. Solid lines that turn up while dashed ones fall: overfitting.",
    ),
    "observables": Kind(
        jets.observables,
        "The jets",
        "Test jets of each class, normalised to one; the central 99 % are shown. The mass peaks at 80, 91, 125 and "
        "173 GeV are what a tagger can use without looking inside the jet.",
    ),
    "partitions": Kind(
        examples.partitions,
        "How the {thing} are cut into partitions",
        "One of the test {thing} for each class, among those with many {particle}: nine tenths of the class have fewer "
        "or as many. Colour and marker: the partition in which the network of this row puts a particle. It sorts the "
        "{particle} and cuts the list into runs of a fixed number of places, so {thing} of few {particle} fill the "
        "first partitions only. The area of a marker grows with the pT of the particle. First seed.",
    ),
    "attention": Kind(
        examples.attention,
        "What the taggers look at",
        "The same {thing} as above; single {particle} may lie outside the frame. Colour: the weight of a particle "
        "over an even share among all of them, purple above and orange below it. ParT and its kin: what the class "
        "token gives to it in the last block, mean over heads, without what the token gives to itself. SAL-T and "
        "Linformer: from the maximum over the {particle} back through attention and projection of the last layer, "
        "absolute values. It says where a network looks, not why it decides. First seed.",
        leads=True,
    ),
}
"""Of trainings and of single jets."""


def figures_of(dataset: DataSet) -> dict[str, Kind]:
    """The figures of a data set and a task by name, in the order of the page."""
    show = show_of(dataset.task.name)
    lead = show.lead(dataset)
    if lead is None:
        return COSTS | TRAININGS
    merit = {f"{lead.key}_vs_cost": costs.against_cost(show.model, lead)}
    return {**show.figures, **merit, **COSTS, **show.figures_of_size, **TRAININGS}


def drawn(
    kind: Kind, dataset: DataSet, looks: dict[str, Look], datasets: Sequence[DataSet]
) -> tuple[Drawing | None, bool]:
    """A figure of a data set of a report, and whether it leaves models out: of more than ``SHOWN`` it has the best.

    The numbers behind it are those of all models. Figures whose lines join models have them all.
    """
    few = best(dataset)
    if few is dataset.with_most_labels or kind.compares or kind.of_labels:
        return kind.of(dataset, looks, datasets), False
    whole, drawing = kind.of(dataset, looks, datasets), kind.of(few, looks, datasets)
    if whole is None or drawing is None:
        return whole, False
    plt.close(whole.figure)
    if len(drawing.rows) == len(whole.rows):
        return drawing, False
    return replace(drawing, rows=whole.rows, plots=whole.plots), True


def best(dataset: DataSet) -> DataSet:
    """The data set with its best ``SHOWN`` models, or itself if there are no more."""
    dataset = dataset.with_most_labels
    if len(dataset.entries) <= SHOWN:
        return dataset
    kept = {entry.model for entry in show_of(dataset.task.name).ranked(dataset)[:SHOWN]}
    return replace(dataset, entries=[entry for entry in dataset.entries if entry.model in kept])


def names(datasets: Iterable[DataSet]) -> list[str]:
    """Names of the figures that some data sets can have."""
    return list(dict.fromkeys(name for dataset in datasets for name in figures_of(dataset)))
