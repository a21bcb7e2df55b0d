"""What codes, generators and pre-trainings reach on simulated jets: the rows of a table, from finished experiments.

    snakemake --profile profiles/local --configfile workflow/experiments/omnijet.yaml
    snakemake --profile profiles/local --configfile workflow/experiments/selfsupervised.yaml
    snakemake --profile profiles/local --configfile benchmarks/generators.yaml
    python benchmarks/transfer.py omnijet results/omnijet
    python benchmarks/transfer.py selfsupervised results/selfsupervised
    python benchmarks/transfer.py generators results/generators

Each row has its value and what it is held against: a threshold, a baseline, or nothing. Nothing is trained here.
"""

import argparse
import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from measure import machine, print_table, write

POSITION_WISE = 9.2
"""GeV, W1 of the mass of jets whose i-th particles are drawn from the i-th particles of other jets."""


class Row(NamedTuple):
    """One figure."""

    name: str
    value: float
    bound: float | None = None
    """None: reported only."""
    at_least: bool = True

    @property
    def reached(self) -> bool | None:
        """None: nothing to reach."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


class Results:
    """Files of a finished experiment.

    Args:
        home: ``results/<experiment>``.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def seeds(self, dataset: str, model: str) -> list[Path]:
        """Directories of the trainings of a model."""
        return sorted((self.home / dataset / model).glob("seed*"))

    def metrics(self, dataset: str, model: str) -> list[dict[str, Any]]:
        """``metrics.json`` of each seed."""
        return [json.loads((path / "metrics.json").read_text()) for path in self.seeds(dataset, model)]

    def value(self, dataset: str, model: str, name: str) -> float:
        """A figure of merit, mean over seeds."""
        return float(np.mean([item["values"][name]["value"] for item in self.metrics(dataset, model)]))

    def facts(self, dataset: str, model: str) -> dict[str, Any]:
        """``training.json`` of the first seed."""
        facts: dict[str, Any] = json.loads((self.seeds(dataset, model)[0] / "training.json").read_text())
        return facts

    def history(self, dataset: str, model: str, name: str) -> list[float]:
        """A column of ``history.csv`` of the first seed."""
        with (self.seeds(dataset, model)[0] / "history.csv").open() as file:
            return [float(row[name]) for row in csv.DictReader(file)]

    def labels(self, dataset: str, model: str) -> list[str]:
        """The model with each number of labels, fewest first; without the one that has all."""
        names = [path.name for path in (self.home / dataset).glob(f"{model}-n*")]
        return sorted(names, key=lambda name: int(name.rpartition("-n")[2]))

    def closeness(self, dataset: str, observable: str) -> dict[str, float]:
        """How far generated jets are from their reference."""
        found: dict[str, Any] = json.loads((self.home / dataset / "closeness.json").read_text())
        distances: dict[str, float] = found["observables"][observable]
        return distances

    def multiplicity(self, dataset: str) -> float:
        """Mean number of particles of generated jets over that of their reference, less one, in %."""
        table = pq.read_table(self.home / dataset / "observables.parquet", columns=["reference", "multiplicity"])
        number, reference = table["multiplicity"].to_numpy(), table["reference"].to_numpy() == 1
        return 100 * float(number[~reference].mean() / number[reference].mean() - 1)

    def gains(self, dataset: str, arm: str, control: str, name: str) -> dict[int, list[float]]:
        """Difference of two arms for each number of labels, seed by seed."""
        found = {}
        for model in self.labels(dataset, arm):
            number = model.rpartition("-n")[2]
            pairs = zip(self.metrics(dataset, model), self.metrics(dataset, f"{control}-n{number}"), strict=True)
            found[int(number)] = [one["values"][name]["value"] - two["values"][name]["value"] for one, two in pairs]
        return found


def mean_gain(gains: dict[int, list[float]]) -> tuple[float, float]:
    """Mean over numbers of labels and seeds, and its uncertainty from the scatter of the seeds' means."""
    by_seed = np.mean(list(gains.values()), axis=0)
    return float(by_seed.mean()), float(by_seed.std(ddof=1) / math.sqrt(len(by_seed))) if len(by_seed) > 1 else math.nan


def of_codes(results: Results) -> Iterator[Row]:
    """Tokenizers and generator."""
    jets = "jets"
    for model, bounds in (("kmeans", (0.017, 0.98, 380, 11.5)), ("vqvae", (0.03, 0.90, 300, 15.0))):
        mse, used, perplexity, mass = bounds
        yield Row(f"{model}: squared error", results.value(jets, model, "mse"), mse, at_least=False)
        yield Row(f"{model}: codes used", results.value(jets, model, "used"), used)
        yield Row(f"{model}: perplexity", results.value(jets, model, "perplexity"), perplexity)
        yield Row(
            f"{model}: mass, half 68 % [GeV]", results.value(jets, model, "mass_resolution"), mass, at_least=False
        )
        yield Row(f"{model}: seconds of training", results.facts(jets, model)["seconds"])
    errors = results.history(jets, "vqvae", "val_mse")
    yield Row("vqvae: first error over the last", errors[0] / errors[-1], 10)
    scan = [results.value(jets, name, "mass_resolution") for name in ("kmeans_64", "kmeans", "kmeans_2048")]
    yield Row("kmeans: mass with 64 codes over 2048", scan[0] / scan[2] if scan[0] > scan[1] > scan[2] else 0.0, 2.5)
    generator = ("tokens", "generator")
    nats, bigram = results.value(*generator, "nats"), results.value(*generator, "bigram")
    best = results.facts(*generator)["best_epoch"]
    yield Row("generator: nats less those of the bigram", nats - bigram, -0.30, at_least=False)
    yield Row("generator: nats of test less training", nats - results.history(*generator, "train_loss")[best], 0.2,
              at_least=False)  # fmt: skip
    mass = results.closeness("generated", "mass")
    yield Row("generated: W1(mass) over floor", mass["ratio"], 6, at_least=False)
    yield Row("generated: W1(mass) [GeV]", mass["w1"], POSITION_WISE, at_least=False)
    yield Row("generated: W1(pT) over floor", results.closeness("generated", "pt")["ratio"])
    off = results.multiplicity("generated")
    yield Row("generated: mean multiplicity off by [%]", abs(off), 5, at_least=False)
    skim = next((results.home / "derived").glob("generated-*/test_000.parquet"))
    told = json.loads(pq.read_metadata(skim).metadata[b"jetloom"])
    yield Row("generated: jets that were cut [%]", 100 * told["cut"], 1, at_least=False)
    with next((results.home / "derived/benchmarks").glob("generated-*/generate/test_000.tsv")).open() as file:
        seconds = float(next(csv.DictReader(file, delimiter="\t"))["s"])
    yield Row(f"generated: seconds for {told['jets_read']:,} jets", seconds, 20, at_least=False)


def of_transfer(results: Results) -> Iterator[Row]:
    """What a generator's weights are worth, and what is seen of codes and generated jets."""
    two = results.gains("two", "fine_tuned_two", "scratch_two", "auc")
    yield Row("QCD and tops: AUC, fine-tuned less scratch", mean_gain(two)[0], 0.008)
    yield Row(
        "QCD and tops: the same, worst number of labels", min(float(np.mean(item)) for item in two.values()), -0.01
    )
    for arm, bound in (("fine_tuned", 0.02), ("frozen", 0.01)):
        value, error = mean_gain(results.gains("tokens", arm, "scratch", "accuracy"))
        yield Row(f"ten classes: accuracy, {arm.replace('_', '-')} less scratch", value, bound)
        yield Row(f"ten classes: uncertainty of it, {arm.replace('_', '-')}", error)
    yield Row("decoded against generated jets: AUC", results.value("closure", "particlenet", "auc"))
    yield Row("true against decoded jets: AUC", results.value("visible", "particlenet", "auc"))
    halves = results.value("halves", "particlenet", "auc")
    yield Row("two halves of decoded jets: AUC off 0.5 by", abs(halves - 0.5), 0.025, at_least=False)
    [mixture] = results.metrics("closest", "particlenet")
    for part, item in mixture["posteriors"]["values"].items():
        yield Row(f"true jets: negative log posterior of {part}", item["value"])
    true, decoded = (results.value(name, "particlenet", "accuracy") for name in ("jets", "decoded"))
    yield Row("accuracy on true jets", true)
    yield Row("accuracy on decoded jets", decoded)


def of_pretraining(results: Results) -> Iterator[Row]:
    """Contrastive and masked pre-training, against random and untrained encoders."""
    data = "jetclass-sim"
    yield Row(
        "contrastive: probe less that of a random encoder", results.value(data, "contrastive", "probe_gain"), 0.015
    )
    yield Row("masked: probe less that of a random encoder", results.value(data, "masked", "probe_gain"))
    for arm in ("contrastive", "masked"):
        frozen = results.gains(data, f"{arm}_frozen", "random_frozen", "auc")
        yield Row(f"{arm}: AUC at 1,000 labels, frozen less random", float(np.mean(frozen[1000])),
                  0.004 if arm == "contrastive" else None)  # fmt: skip
        tuned = results.gains(data, f"from_{arm}", "scratch", "accuracy")
        value, error = mean_gain(tuned)
        yield Row(f"{arm}: accuracy, fine-tuned less scratch", value, 0.02 if arm == "masked" else None)
        yield Row(f"{arm}: uncertainty of it", error)
        at = np.array(tuned[1000])
        yield Row(f"{arm}: the same at 1,000 labels", float(at.mean()))
        yield Row(f"{arm}: uncertainty of it at 1,000 labels", float(at.std(ddof=1) / math.sqrt(len(at))))


def of_generators(results: Results) -> Iterator[Row]:
    """What depends on the seed of the generator."""
    names = sorted(path.parent.name for path in results.home.glob("generated_*/closeness.json"))
    off = np.array([results.multiplicity(name) for name in names])
    yield Row(f"mean multiplicity off by [%], mean of {len(names)}", abs(float(off.mean())), 5, at_least=False)
    for name, value in zip(names, off, strict=True):
        yield Row(f"{name}: mean multiplicity against the reference [%]", float(value))
    for observable in ("mass", "pt"):
        ratios = [results.closeness(name, observable)["ratio"] for name in names]
        yield Row(f"W1({observable}) over floor, mean of {len(names)}", float(np.mean(ratios)))
        yield Row(f"W1({observable}) over floor, standard deviation", float(np.std(ratios, ddof=1)))


EXPERIMENTS = {"generators": (of_generators,), "omnijet": (of_codes, of_transfer), "selfsupervised": (of_pretraining,)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the rows and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("results", type=Path)
    given = parser.parse_args(arguments)
    if not (given.results / "report/index.html").is_file():
        parser.error(f"{given.results} has no report: the experiment has not ended")
    results = Results(given.results)
    rows = [row for part in EXPERIMENTS[given.experiment] for row in part(results)]
    words = {True: "reached", False: "MISSED", None: ""}
    bounds = {row: "" if row.bound is None else f"{'>=' if row.at_least else '<='} {row.bound:g}" for row in rows}
    print_table(
        [{"figure": row.name, "value": row.value, "bound": bounds[row], "": words[row.reached]} for row in rows]
    )
    found = {row.name: row._asdict() | {"reached": row.reached} for row in rows}
    trained = json.loads(next(given.results.glob("*/*/seed*/training.json")).read_text())
    about = {"machine": machine("cpu"), "trained on": trained["hardware"]}
    write(f"transfer-{given.experiment}", about | {"rows": found})


if __name__ == "__main__":
    main()
