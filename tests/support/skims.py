"""Two small skims, and a data set whose shards they make."""

from jetloom.config import resolve_dataset
from jetloom.data.prepare.skim import skim
from tests.support.data import make_jetclass as build


def dataset(**changes):
    base = {
        "classes": ["QCD", "Hbb"],
        "selection": {},
        "max_particles": 40,
        "buckets": [10, 20, 40],
    }
    settings = resolve_dataset("jetclass-sim", base | changes, "test")
    return settings.model_copy(update={"splits": {"train": ["a", "b"], "test": ["c", "d"]}})


def skims(directory, settings, jets=(50, 33), seed=1):
    paths = []
    for label, number in zip(("QCD", "Hbb"), jets, strict=True):
        raw = build.make(directory / f"{label}_{seed}.root", jets=number, label=label, seed=seed)
        paths.append(raw.with_suffix(".parquet"))
        skim("test", settings, raw, paths[-1])
    return paths
