"""What the report shows of tokenizers."""

from functools import partial
from typing import ClassVar

from jetloom.drawing.numbers import significant
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds
from jetloom.statistics.values import Value
from jetloom.tasks.shows import Behind, Kind, Metric, Show
from jetloom.tasks.tokenisation.figures import codebook, reconstruction


class Tokenisation(Show):
    """What codes lose of particles and jets."""

    model = "tokenizer"
    title = "Tokenizers and cost"
    behind = Behind("Behind the best", "of the squared error", "the smallest error")
    curves: ClassVar = {"loss": "Loss", "mse": "Squared error", "perplexity": "Perplexity"}
    figures: ClassVar = {
        "reconstruction": Kind(
            reconstruction,
            "What is lost of a jet",
            "Observables of decoded test jets less (pT: over) those of the true ones. Numbers: median and half the "
            "width of the central 68 %; the outermost half per cent on either side is not drawn. A median below zero "
            "of the mass is no bug: codes pull soft particles at wide angles towards the middle of their cell. First "
            "seed.",
            leads=True,
        ),
        "codebook": Kind(
            codebook,
            "Use of the codebook",
            "How often each code occurs in the test jets, by falling frequency; dotted: all codes equally often. With "
            "several sizes of the codebook, beside it: perplexity, the number of codes that would occur equally often "
            "with the same entropy, and half the central 68 % of the mass residual.",
        ),
    }

    def heading(self, dataset: DataSet) -> str:
        """The data set."""
        return f"{dataset.title}: tokenizers"

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Squared error first."""

        def of(name: str, title: str, better: str, hint: str) -> Metric:
            return Metric(name, title, better, partial(over_seeds, name=name), name, hint)  # type: ignore[arg-type]

        return [
            of("mse", "Squared error", "lower", "mean over the three numbers of a particle: ln pT, 3 deta, 3 dphi"),
            of("used", "Codes used", "higher", "share of the codes that occur in the test jets"),
            of("perplexity", "Perplexity", "higher", "exp of the entropy of the codes; at most their number"),
            of("mass_bias", "Mass, median [GeV]", "nearer to zero", "of decoded less true"),
            of("mass_resolution", "Mass, half 68 % [GeV]", "lower", "of decoded less true"),
            of("pt_resolution", "pT, half 68 %", "lower", "of decoded over true"),
            Metric("mass_w1_over_floor", "W1(mass) / floor", "lower", partial(_over_floor, name="mass"),
                   hint="Wasserstein distance of decoded to true jets over that of two samples of true jets"),
            of("dropped", "Dropped", "lower", "particles too far from the axis to be coded"),
        ]  # fmt: skip

    def verdict(self, dataset: DataSet, entries: list[Entry]) -> str:
        """Which tokenizer loses least."""
        best = entries[0]
        mass, error = over_seeds(best, "mass_resolution").number, over_seeds(best, "mse").number
        codes = len(best.results[0].metrics["codes"])
        return (
            f"{best.title} loses least: with {codes:,} codes a squared error of {significant(error, 3)}, and half the "
            f"central 68 % of decoded less true mass are {significant(mass, 2)} GeV."
        )

    def worse(self, best: Entry, other: Entry) -> str:
        """By the ratio of the errors."""
        ours, theirs = (over_seeds(entry, "mse").number for entry in (best, other))
        return f"has {significant(theirs / ours, 2)} times the squared error" if ours else "loses more"


def _over_floor(entry: Entry, name: str) -> Value | None:
    distance, floor = (over_seeds(entry, f"{name}_{what}") for what in ("w1", "w1_floor"))
    if not floor.value:
        return None
    ratio = distance.number / floor.number
    # What the floor scatters, the ratio does.
    ends = [distance.number / end for end in (floor.high, floor.low) if end]
    return Value(ratio, min(ends, default=ratio), max(ends, default=ratio), None, distance.seeds)


SHOW = Tokenisation()
