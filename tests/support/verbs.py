"""Every verb that writes, as small as it goes: what it reads is ready, where it writes is free."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jetloom.cli import main

DATASET = [
    "--dataset=shapes-sim",
    "--set=classes=[chair, table]",
    *("--set=max_particles=32", "--set=buckets=[32]"),
    *(f"--set=splits.{split}=['{{chair,table}}/{split}']" for split in ("train", "val", "test")),
]
MODEL = ["--model=pointnet", "--preset=tiny", "--threads=1"]
SPLITS = ("train", "val", "test")
CHANGING = ("seconds", "resumed", "started", "latency", "length_scan", "git", "hardware")
"""What is measured and not computed."""


@dataclass(frozen=True)
class Verb:
    """A command that writes below a directory.

    Attributes:
        name: of the verb.
        arguments: of the command, with that directory.
        outputs: files or directories that it makes there.
    """

    name: str
    arguments: Callable[[Path, Path], list[str]]
    outputs: list[str]

    def run(self, whole: Path, output: Path) -> None:
        """The verb in this process, from what ``whole`` holds into ``output``."""
        call(self.arguments(whole, output))


def call(arguments: list[str]) -> None:
    """A command that must succeed, in this process."""
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, ended.code


def _skims(whole: Path, split: str) -> list[str]:
    return [str(whole / f"{label}_{split}.parquet") for label in ("chair", "table")]


def _report(whole: Path, output: Path) -> list[str]:
    files = {"metrics": "metrics.json", "predictions": "predictions.parquet", "training": "training.json"}
    files |= {"histories": "history.csv", "costs": "cost.json", "manifests": "manifest.json"}
    inputs = [word for flag, name in files.items() for word in (f"--{flag}", str(whole / name))]
    return ["report", *inputs, f"--output={output / 'report'}"]


def _train(whole: Path, output: Path) -> list[str]:
    return [
        *("train", str(whole / "manifest.json"), *MODEL, "--set=epochs=4", "--set=batch_size=8"),
        *("--set=checkpoint_minutes=1e-9", f"--output={output}", f"--scratch={output / 'scratch'}"),
    ]


def simulate(label: str, split: str) -> list[str]:
    return ["simulate", "shapes-sim", f"--class={label}", f"--split={split}", "--meshes=8"]


def skim(whole: Path, output: Path, label: str, split: str) -> list[str]:
    return ["skim", str(whole / label / split), str(output / f"{label}_{split}.parquet"), *DATASET]


def shard(whole: Path, output: Path, split: str) -> list[str]:
    skims = _skims(whole, split)
    return ["tensors", "shard", *skims, *DATASET, f"--split={split}", f"--output={output / f'{split}.safetensors'}"]


VERBS = [
    Verb("simulate", lambda _, output: [*simulate("chair", "train"), f"--output={output}"], ["chair/train"]),
    Verb("skim", lambda whole, output: skim(whole, output, "chair", "train"), ["chair_train.parquet"]),
    Verb("tensors shard", lambda whole, output: shard(whole, output, "train"), ["train.safetensors"]),
    Verb(
        "tensors manifest",
        lambda whole, output: [
            *("tensors", "manifest", *(str(whole / f"{split}.safetensors") for split in SPLITS)),
            *(*DATASET, f"--output={output / 'manifest.json'}"),
        ],
        ["manifest.json"],
    ),
    Verb("train", _train, ["history.csv", "training.json", "best.ckpt"]),
    Verb(
        "evaluate",
        lambda whole, output: [
            *("evaluate", str(whole / "best.ckpt"), str(whole / "manifest.json"), "--threads=1", "--set=bootstrap=20"),
            *(f"--training={whole / 'training.json'}", f"--output={output}"),
        ],
        ["predictions.parquet", "metrics.json"],
    ),
    Verb(
        "predict",
        lambda whole, output: [
            *("predict", f"--checkpoint={whole / 'best.ckpt'}", f"--input={whole / 'chair/test'}"),
            *("--threads=1", f"--output={output / 'scores.parquet'}"),
        ],
        ["scores.parquet"],
    ),
    Verb(
        "cost",
        lambda whole, output: [
            *("cost", str(whole / "manifest.json"), *MODEL, "--set=batch_sizes=[2]", "--set=particles=[8]"),
            *("--set=seconds=0.01", f"--output={output / 'cost.json'}"),
        ],
        ["cost.json"],
    ),
    Verb("report", _report, ["report/figures", "report/tables", "report/index.html"]),
]
EACH_VERB = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name.replace(" ", "-"))


def run_all(whole: Path) -> None:
    """The whole chain, undisturbed."""
    for label in ("chair", "table"):
        for split in SPLITS:
            call([*simulate(label, split), f"--output={whole}"])
            call(skim(whole, whole, label, split))
    for split in SPLITS:
        call(shard(whole, whole, split))
    for verb in VERBS[3:]:
        verb.run(whole, whole)


def left(directory: Path) -> list[str]:
    """Files below a directory, hidden ones too."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def content(path: Path) -> dict[str, object]:
    """What must be the same each time: bytes, and of JSON and CSV files all that is not measured."""
    if path.is_dir():
        return {name: content(path / name) for name in left(path)}
    if path.name == "manifest.json":
        # It says where the shards are, as seen from its own place.
        return {"text": re.sub(r'"(file|digest)": ".*"', "", path.read_text())}
    if path.suffix == ".json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in CHANGING}
    if path.name == "history.csv":
        return {"rows": [line.rpartition(",")[0] for line in path.read_text().splitlines()]}
    return {"bytes": path.read_bytes()}
