"""A copy of the project, in which the workflow can run, and a very small experiment for it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TRACKED = ["Snakefile", "workflow", "profiles", "config.yaml", "src", "envs"]

LOCAL = ["--set-threads", "report=1", "--profile", "profiles/local", "--cores", "2"]
"""How the workflow is called; a small report is drawn before a second process has imported what that needs."""

SMALL = {
    "experiment": "small",
    "datasets": ["jetclass-sim", "shapes-sim"],
    "models": ["salt", "pfn"],
    "seeds": [1],
    "preset": "tiny",
    "training": {"epochs": 2, "batch_size": 16},
    "per_dataset": {
        "jetclass-sim": {
            "classes": ["QCD", "Hbb"],
            "splits": {
                "train": ["{ZJetsToNuNu,HToBB}_000.root"],
                "val": ["{ZJetsToNuNu,HToBB}_001.root"],
                "test": ["{ZJetsToNuNu,HToBB}_002.root"],
            },
            "simulation": {"jets": {"train": 40, "val": 16, "test": 24}, "mpi": False},
        },
        "shapes-sim": {
            "models": ["salt"],
            "classes": ["chair", "table"],
            "splits": {split: [f"{{chair,table}}/{split}"] for split in ("train", "val", "test")},
            "max_particles": 64,
            "buckets": [64],
            "simulation": {"jets": {"train": 12, "val": 6, "test": 8}},
        },
    },
    "evaluation": {"bootstrap": 20},
    "cost": {"batch_sizes": [1, 8], "particles": [16, 32], "seconds": 0.02},
    "tracking": {"onnx": False},
}


@dataclass
class Project:
    """A clone in its own directory."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """The clone's own sources come before the installed ones."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        sources = f"{self.path / 'src'}:{os.environ['PYTHONPATH']}"
        return os.environ | {"PYTHONPATH": sources, "PATH": path, "COLUMNS": "200"}

    def write_config(self, config: dict) -> None:
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["snakemake", *LOCAL, *arguments]
        return subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True)

    def run(self, *arguments: str) -> str:
        """Run the workflow; fail with its own words."""
        done = self.snakemake(*arguments)
        logs = "".join(f"\n== {log}\n{log.read_text()[-2000:]}" for log in self.path.glob("*/*/logs/**/*.log"))
        assert done.returncode == 0, done.stderr[-5000:] + (logs if "Error" in done.stderr else "")
        return done.stderr + done.stdout

    def plan(self, *arguments: str) -> Counter[str]:
        """Jobs that a dry run would start, by rule; target rules are no work and do not count."""
        planned = Counter(jobs(self.run("--dry-run", *arguments)))
        for target in ("total", "all", "data", "train", "figures", "cost"):
            del planned[target]
        return planned


def clone(path: Path) -> Project:
    """A copy of what git tracks and the workflow needs."""
    path.mkdir(parents=True)
    for name in TRACKED:
        source = ROOT / name
        ignore = shutil.ignore_patterns("*.egg-info")
        shutil.copytree(source, path / name, ignore=ignore) if source.is_dir() else shutil.copy(source, path / name)
    return Project(path)


def jobs(text: str) -> dict[str, int]:
    """Jobs that a dry run lists, by rule."""
    table = re.search(r"Job stats:\n.*?\n-+.*?\n(.*?)\n\n", text, flags=re.S)
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)", table[1], re.M)} if table else {}


@contextmanager
def edited(file: Path, change: Callable[[str], str]) -> Iterator[None]:
    """A file with another text, as long as this lasts."""
    text = file.read_text()
    try:
        file.write_text(change(text))
        yield
    finally:
        file.write_text(text)


def more_code(text: str) -> str:
    """The text of a module with one more line that means something."""
    return f"{text}\n\nEDITED = 1\n"
