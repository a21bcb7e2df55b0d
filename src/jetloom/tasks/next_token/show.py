"""What the report shows of generators: likelihoods beside a ladder of simple guesses, and what they generate."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from jetloom.drawing.cells import Cell, Records, Table, made, model_cell
from jetloom.drawing.numbers import significant
from jetloom.results.collection import DataSet, Entry
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.next_token.figures import AXES, generated, made_by
from jetloom.tasks.shows import Behind, Kind, Metric, Show, enumerated

LADDER = {
    "uniform": "every token is as likely",
    "unigram": "knows how often each token occurs",
    "position": "knows how often at this place of a jet",
    "bigram": "knows how often behind this token",
}


class NextToken(Show):
    """Nats of a token, the ladder, and distances of generated jets."""

    model = "generator"
    title = "Generators and cost"
    behind = Behind("Behind the best", "in nats of a token", "the smallest")
    curves: ClassVar = {"loss": "Nats of a token", "jet_nats": "Nats of a jet"}
    figures: ClassVar = {
        "generated": Kind(
            generated,
            "Generated jets beside what they should be like",
            "Grey: the reference, decoded test jets, so that what the tokenizer loses is in neither; lines: generated "
            "jets, as many. Below: ratio with the statistical errors of the generated jets; grey band: those of the "
            "reference. The outermost bins hold what lies beyond. W1 / floor: Wasserstein distance over that of two "
            "samples of the reference.",
            leads=True,
        ),
    }

    def heading(self, dataset: DataSet) -> str:
        """The data set."""
        return f"{dataset.title}: generators"

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Nats first, then the ladder."""

        def of(name: str, title: str, hint: str) -> Metric:
            return Metric(name, title, "lower", partial(over_seeds, name=name), name, hint)

        return [
            of("nats", "Nats per token", "cross entropy of the next token of test jets"),
            of("jet_nats", "Nats per jet", "the sum over a jet: what compares tokenizers of different size"),
            Metric("nats_gained", "Gained", "higher", partial(over_seeds, name="nats_gained"), "nats_gained",
                   "nats of a token over the bigram"),
            *(of(name, name.capitalize(), f"nats of a token of who {hint}") for name, hint in LADDER.items()),
        ]  # fmt: skip

    def guessing(self, dataset: DataSet) -> dict[str, float]:
        """The bigram."""
        return {"loss": over_seeds(dataset.entries[0], "bigram").number} if dataset.evaluated else {}

    def tables(self, dataset: DataSet, datasets: Sequence[DataSet]) -> dict[str, Table | None]:
        """Distances of what was generated."""
        return {"generated": _distances(dataset)}

    def verdict(self, dataset: DataSet, entries: list[Entry]) -> str:
        """The likelihood against the bigram, and the worst distance."""
        best = entries[0]
        nats, gained = over_seeds(best, "nats").number, over_seeds(best, "nats_gained").number
        than = "less than" if gained > 0 else "more than"
        text = (
            f"{best.title} takes {significant(nats, 4)} nats for a token, {significant(abs(gained), 2)} {than} the "
            "bigram, which knows only the token before."
        )
        known = [(item, made) for item, made in made_by(dataset) if item.model == best.model]
        ratios = {
            name: ratio
            for name in AXES
            for _, made in known[:1]
            if (ratio := made.closeness["observables"][name]["ratio"]) is not None
        }
        if not ratios:
            return text
        near, far = min(ratios, key=lambda name: ratios[name]), max(ratios, key=lambda name: ratios[name])
        return (
            f"{text} Of its generated jets {near} is nearest to the reference ({significant(ratios[near], 2)} times "
            f"the distance of two samples of it) and {far} farthest ({significant(ratios[far], 2)} times)."
        )


def _distances(dataset: DataSet) -> Table | None:
    """W1, floor, ratio and KL of each observable of each generated data set."""
    rows, records, runs = [], [], []
    for entry, item in made_by(dataset):
        content = item.closeness
        for name in AXES:
            figures = content["observables"][name]
            floor = figures["floor"] or {}
            numbers = [figures["w1"], floor.get("mean"), figures["ratio"], figures["kl"], figures["kl_expected"]]
            cells = [Cell("–" if number is None else significant(number, 3), number) for number in numbers]
            rows.append((entry.model, [model_cell(entry), Cell(content["set"]), Cell(name), *cells]))
            more = [floor.get("low"), floor.get("high"), figures["kl_density"], figures["undefined"]]
            named = (entry.model, content["set"], content["reference"], name)
            records.append((*named, *made([*numbers, *more], "closeness")))
            runs.append(entry.results)
    if not rows:
        return None
    columns = [Cell(text, hint=hint) for text, hint in (
        ("Generator", ""), ("Generated set", ""), ("Observable", "mass and pT in GeV"),
        ("W1", "Wasserstein distance of generated to reference jets"),
        ("Floor", "the same between two samples of the reference, mean of 40 splits"),
        ("W1 / floor", "1: cannot be told from the reference"),
        ("KL", "Kullback-Leibler divergence in 30 bins of equal content of the reference"),
        ("KL expected", "of a sample of the reference"),
    )]  # fmt: skip
    sizes = enumerated(sorted({f"{item.closeness['jets']:,}" for _, item in made_by(dataset)}))
    names = (
        "model", "set", "reference", "observable", "w1", "floor", "ratio", "kl", "kl_expected", "floor_low",
        "floor_high", "kl_density", "undefined",
    )  # fmt: skip
    return Table(
        "Generated jets against the reference",
        f"{sizes} generated jets of each set; a jet with too few particles for an observable is left out of it. The "
        "CSV file has the 5 and 95 % ends of the floor, and kl_density, the divergence as the code of OmniJet-alpha "
        "computes it.",
        columns,
        rows,
        records=Records(names, records, runs),
    )


SHOW = NextToken()
