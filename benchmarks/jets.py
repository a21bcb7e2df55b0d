"""The jets that the data benchmarks run on: simulated ones in the format of JetClass, as many as asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy

from jetloom.config import Dataset, read_experiment, resolve_dataset
from jetloom.workflow.plan import Plan

DEMO = Plan(read_experiment(Path(__file__).parents[1] / "config.yaml")).data["jetclass-sim"]
"""Where ``make demo`` leaves its jets, below the directory that it ran in."""
MANIFEST = Path(DEMO.manifest)
RAW = Path(DEMO.raw[DEMO.dataset.raw_files("train")[0]].path).parent
"""Raw files of the training split."""


def dataset(shards: int = 1) -> Dataset:
    """JetClass as it is, but with a training split of one file."""
    return resolve_dataset("jetclass", {}, "benchmark").model_copy(
        update={"splits": {"train": ["jets.root"]}, "shards": {"train": shards}}
    )


def make_file(sources: Sequence[Path], jets: int, output: Path, basket: int = 10_000) -> None:
    """One ROOT file of so many jets, drawn from simulated files in random order, each about equally often.

    Args:
        sources: files of ``jetloom simulate jetclass-sim``.
        jets: in the new file; 100,000 are one file of JetClass.
        output: the new file.
        basket: jets written at once; bounds the memory.
    """
    # Here: the machine of a GPU day has neither.
    import awkward
    import uproot

    from jetloom.data.simulate.rootfile import JET_TYPES, PARTICLE_TYPES, create

    pool = awkward.concatenate([uproot.open(path)["tree"].arrays() for path in sources])
    generator = numpy.random.default_rng(1)
    with create(output) as writer:
        for first in range(0, jets, basket):
            some = pool[generator.permutation(len(pool))[: min(basket, jets - first)]]
            particles = awkward.zip({name: some[f"part_{name}"] for name in PARTICLE_TYPES})
            writer.write({"part": particles} | {name: awkward.to_numpy(some[name]) for name in JET_TYPES})
