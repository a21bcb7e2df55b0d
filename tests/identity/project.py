"""A clone whose calls go to a warm process, and what is known of what it has done."""

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.support import warm
from tests.support.project import clone
from tests.support.warm_project import WarmProject

SPLITS = ("train", "val", "test")
FIRST: dict[str, Any] = {
    "experiment": "first",
    "datasets": ["shapes-sim"],
    "models": ["pointnet", "tuned", "salt"],
    "seeds": [1],
    "preset": "tiny",
    "training": {"epochs": 2, "batch_size": 4},
    "per_dataset": {
        "shapes-sim": {
            "classes": ["chair", "table"],
            "splits": {split: [f"{{chair,table}}/{split}"] for split in SPLITS},
            "max_particles": 16,
            "buckets": [16],
            "simulation": {"jets": {"train": 6, "val": 3, "test": 5}},
        },
    },
    "per_model": {
        "tuned": {"based_on": "pointnet", "starts_from": {"dataset": "shapes-sim", "model": "pointnet", "seed": 1}},
    },
    "evaluation": {"bootstrap": 4},
    "cost": {"batch_sizes": [1], "particles": [16], "seconds": 0.02},
    "tracking": {"onnx": False},
}
"""Two classes, and three models of which one starts from another."""
MODULES = {
    "simulation": "data/simulate/shapes.py",
    "reader": "data/sources/modelnet10.py",
    "features": "data/prepare/padding.py",
    "pointnet": "models/pointnet.py",
    "salt": "models/salt.py",
    "training": "training/optimisers.py",
    "metric": "tasks/classification/metrics.py",
    "cost": "evaluation/cost.py",
    "plot": "drawing/style.py",
}
"""Modules that are edited, each by the name of what it decides."""


class EditedProject(WarmProject):
    """A clone whose modules are edited, and which is asked what has really run.

    Args:
        path: of the clone.
        programs: module whose PROGRAMS run.
    """

    def __init__(self, path: Path, programs: str) -> None:
        super().__init__(path, programs)
        self._sources = {name: (path / "src/jetloom" / file).read_text() for name, file in MODULES.items()}
        self._references: dict[str, dict[str, Any]] = {}

    def clear(self) -> None:
        """Nothing has run, and no code is edited."""
        for name in ("data", "results", "scratch", "logs", ".snakemake"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in ("work.jsonl", "kill.json"):
            (self.path / name).unlink(missing_ok=True)
        for name in MODULES:
            self.edit(name, 0)

    def edit(self, name: str, version: int) -> None:
        """Another version of a module, 0 for the one of the project."""
        end = f"\n\nEDIT = {version}\n" if version else ""
        (self.path / "src/jetloom" / MODULES[name]).write_text(self._sources[name] + end)

    def call(self, config: dict[str, Any], *arguments: str) -> tuple[int, str]:
        """Run the workflow on a configuration: exit status, and what it said."""
        file = f"{config['experiment']}.yaml"
        (self.path / file).write_text(yaml.safe_dump(config, sort_keys=False))
        common = ["--profile", "profiles/local", "--cores", "1", "--scheduler", "greedy"]
        status = warm.call(
            self.socket, "snakemake", [*common, *arguments, "--configfile", file], self.path, self.output
        )
        return status, self.output.read_text()

    def jetloom(self, *arguments: str) -> tuple[int, str]:
        """Run a verb: exit status, and what it said."""
        return warm.call(self.socket, "jetloom", [*arguments], self.path, self.output), self.output.read_text()

    def kill(self) -> None:
        """Kill everything that runs, with no time to say anything."""
        for worker in psutil.Process(self.process.pid).children():
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)

    def work(self) -> list[list[str]]:
        """What really worked since the last time, in turn: begin or end, verb, output, digest of what it read."""
        log = self.path / "work.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def reference(self, config: dict[str, Any], versions: dict[str, int]) -> dict[str, Any]:
        """What settings and code lead to: title, figures of each training, costs; computed without the workflow."""
        # Sections that are empty say nothing; a page has the configuration without them or with.
        key = json.dumps([{**_full(config), "experiment": ""}, versions], sort_keys=True)
        if key not in self._references:
            answer = self.path / "reference.json"
            asked = [json.dumps(config), json.dumps(versions), str(answer)]
            status = warm.call(self.socket, "reference", asked, self.path, self.output)
            assert status == 0, self.output.read_text()
            self._references[key] = json.loads(answer.read_text())
        return self._references[key]

    def page(self, experiment: str) -> dict[str, Any] | None:
        """The report of an experiment, if there is one."""
        page = self.path / "results" / experiment / "report" / "index.html"
        return json.loads(page.read_text()) if page.exists() else None


def _full(config: dict[str, Any]) -> dict[str, Any]:
    return {key: _full(value) if isinstance(value, dict) else value for key, value in config.items() if value != {}}


def edited_project(path: Path, programs: str) -> EditedProject:
    """A clone of the project with its process."""
    return EditedProject(clone(path).path, programs)
