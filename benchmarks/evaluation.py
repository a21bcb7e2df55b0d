"""Figures of merit of a large test set: processor time and peak memory of what follows the scoring.

    python benchmarks/evaluation.py --jets 20000000

Scores of a random linear model for the classes and working points of JetClass, made up in pieces; labels are in random
order. A process of its own computes all that metrics.json says of them; its peak resident set counts everything, torch
and the scores too.
"""

import argparse
from pathlib import Path

import numpy
import torch
from measure import RESULTS, machine, peak_bytes, print_table, report_peak, write
from numpy.typing import NDArray

from jetloom.config import resolve_dataset
from jetloom.tasks.classification.measure import figures_of_merit

FEATURES = 16
SEPARATION = 0.7
"""Of the classes' means in each feature, in standard deviations; gives an accuracy of about 0.8."""
PIECE = 500_000
MEAN_REJECTION = 0.8


def made_up(jets: int, n_classes: int) -> tuple[NDArray[numpy.float32], NDArray[numpy.int16]]:
    """Scores (N, C) of the best classifier of Gaussian classes, and labels (N,)."""
    generator = numpy.random.default_rng(1)
    means = SEPARATION * generator.normal(size=(n_classes, FEATURES)).astype(numpy.float32)
    scores, label = numpy.empty((jets, n_classes), numpy.float32), numpy.empty(jets, numpy.int16)
    for begin in range(0, jets, PIECE):
        part = slice(begin, min(begin + PIECE, jets))
        label[part] = generator.integers(n_classes, size=part.stop - begin)
        x = means[label[part]] + generator.standard_normal((part.stop - begin, FEATURES), dtype=numpy.float32)
        logits = torch.from_numpy(x @ means.T - (means**2).sum(axis=1) / 2)
        scores[part] = logits.softmax(dim=1).numpy()
    return scores, label


def child(jets: int, resamplings: int) -> None:
    """In the process that is measured."""
    described = resolve_dataset("jetclass", {}, "benchmark")
    scores, label = made_up(jets, len(described.classes))
    report_peak(
        lambda: figures_of_merit(
            scores,
            label,
            classes=described.classes,
            background=described.background,
            working_points=described.working_points,
            resamplings=resamplings,
            confidence=0.68,
            mean_rejection=MEAN_REJECTION,
        )
    )


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jets", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--resamplings", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the JSON file")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        torch.set_num_threads(1)
        child(arguments.jets[0], arguments.resamplings)
        return
    found, rows = [], []
    for jets in arguments.jets:
        figures = peak_bytes([__file__, "--child", f"--jets={jets}", f"--resamplings={arguments.resamplings}"])
        found.append({"jets": jets} | figures)
        rows.append({"figures of merit, jets": f"{jets:,}", "CPU s": figures["cpu_seconds"],
                     "scores, MB": figures["before"] / 1e6, "peak, MB": figures["peak"] / 1e6})  # fmt: skip
    print_table(rows)
    settings = {"resamplings": arguments.resamplings, "mean_rejection": MEAN_REJECTION, "features": FEATURES}
    print(write("evaluation", {"settings": settings, "machine": machine(), "sets": found}, arguments.output))


if __name__ == "__main__":
    main()
