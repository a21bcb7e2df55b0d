"""The figures of a report: one function for each, from a data set and the look of its models to a drawing."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jetloom.drawing.style import Drawing, Look
from jetloom.report.figures import costs, examples, jets, learning, performance
from jetloom.report.figures.training_sizes import samples
from jetloom.results.collect import DataSet


class Kind(NamedTuple):
    """One kind of figure."""

    draw: Callable[..., Drawing | None]
    """From a data set and the looks (and all data sets) to the drawing; None where there is nothing to show."""
    title: str
    caption: str
    """How to read it."""
    compares: bool = False
    """It needs all data sets of the report as a third argument."""

    def of(self, dataset: DataSet, looks: dict[str, Look], datasets: Sequence[DataSet]) -> Drawing | None:
        """Draw it for a data set of a report."""
        return self.draw(dataset, looks, datasets) if self.compares else self.draw(dataset, looks)


FIGURES: dict[str, Kind] = {
    "roc": Kind(
        performance.roc,
        "Background rejection against signal efficiency",
        "Each panel: one signal class against the background class {background}. Further up is better. Lines are means "
        "over seeds, bands the uncertainty of the mean: 68 % interval of a bootstrap over jets, and spread over "
        "seeds. The dotted line marks the working point of the table. A curve ends where less than one of the "
        "{background_jets} background jets is left.",
    ),
    "rejection": Kind(
        performance.rejection,
        "Background rejection at the working points",
        "Bars start at 1, where nothing is rejected; an open bar with an arrow is a lower limit, because less than one "
        "background jet survives the cut. Black lines: jets and seeds in quadrature. Two bars whose lines overlap "
        "are not to be told apart with these jets.",
    ),
    "confusion": Kind(
        performance.confusion,
        "Which class is taken for which",
        "Rows are true classes and add up to 100 %; empty cells hold less than half a percent. Best tagger first. "
        "The colour follows the square root of the share, so that small confusions show. Mean over seeds.",
    ),
    "scores": Kind(
        performance.scores,
        "Distribution of the discriminant",
        "Solid: {thing} of the class itself; dashed: {background}. The better the tagger, the less the two overlap. A "
        "dashed line that stays high on the right is background that no cut removes. Zero: undecided; the outermost "
        "bins hold what lies beyond. Mean over seeds.",
    ),
    "dependence": Kind(
        jets.dependence,
        "Accuracy for different jets",
        "Each bin holds a sixth of the test jets (thin lines: edges). Error bars: binomial and spread over seeds, "
        "in quadrature. The mix of classes changes from bin to bin, so part of the shape is physics and not the "
        "tagger; differences between taggers inside one bin are the taggers'.",
    ),
    "accuracy_vs_cost": Kind(
        costs.accuracy_vs_cost,
        "Accuracy against cost",
        "Up and to the left is better. The grey steps join the taggers that no other one beats in both accuracy and "
        "this cost. Error bars: jets and seeds in quadrature.",
    ),
    "scaling": Kind(
        costs.scaling,
        "Latency and memory against the number of {particle}",
        "Both axes are logarithmic, so a power law is a straight line: the grey guides rise like n and n squared. "
        "Lines: median of repeated forward passes, bands: their central 68 %. Memory: {memory}, without the model "
        "itself. On the left fixed overheads dominate; what counts for long jets is the slope on the right.",
    ),
    "throughput": Kind(
        costs.throughput,
        "Latency and throughput against the batch size",
        "Left: time for a whole batch, the flat part is overhead. Right: {thing} per second; where it stops rising, "
        "the machine is busy and larger batches gain nothing. Median of repeated forward passes, bands central 68 %.",
    ),
    "samples": Kind(
        samples,
        "What more training {thing} bring",
        "The same test {thing} throughout; both axes are logarithmic, so a power law is a straight line. Left: the "
        "share of wrong answers, lower is better; others: background rejection at the working point of the first two "
        "classes for which it is measured everywhere, higher is better. Error bars: {thing} and seeds in quadrature.",
        compares=True,
    ),
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
    ),
}
