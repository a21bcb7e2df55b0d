"""Trainings on the pretended GPU whose steps come in runs, beside such as come one by one, and on a CPU."""

from tests.support import pretended_gpu  # noqa: F401  # isort: skip  (before torch)

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils import _pytree as pytree

from jetloom.config import Training, resolve_tasks
from jetloom.system.device import CPU
from jetloom.tracking.store import open_client, prepare
from jetloom.training.callbacks import Checkpoints
from jetloom.training.checkpoint import load
from jetloom.training.module import Tagger
from jetloom.training.reporting import TrackerCallback
from jetloom.training.runs import Run
from jetloom.training.train import train
from tests.support.outcome import history
from tests.support.tensors import write_tensors
from tests.support.trainings import RUN

JETS, BATCH = 128, 32
PHASES = [(BATCH, 4), (BATCH // 2, 1), (2 * BATCH + 1, 1)]
"""In two buckets: four batches an epoch, eight, and two that are smaller than asked for and so have ordinary steps."""
STEPS = 4 * 4 + 8 + 2
LONGEST = 3
ITERATIONS = 4 * 2 + 3 + 1
"""Of Lightning, with runs of three."""
STOPPED_IN = 2 * 4 + 2
"""Step at which SIGTERM comes: the second one of a run, in the epoch in which the encoder learns first."""
RECIPE = {
    "batch_phases": PHASES, "gradient_clip": 0.1, "freeze": "encoder", "freeze_random": True, "unfreeze_after": 2,
    "learning_rate": 1e-2, "weight_decay": 0.1, "warmup_fraction": 0.1, "precision": "32", "compile": "graphs",
}  # fmt: skip
SALT = {"d_model": 8, "d_ff": 8, "heads": 2, "p": 2}
"""Options of a network whose sums do not depend on the room for particles: all can be compared bit for bit."""


def fitted(directory: Path, name: str, recipe: dict[str, Any], longest: int = LONGEST, **where: Any) -> dict[str, Any]:
    """A training, to the end or to what ends it.

    Args:
        directory: of the data, and for its files.
        name: of these.
        recipe: over ``RECIPE``.
        longest: batches of a run.
        where: ``store``, if it is tracked.

    Returns:
        ``status``; ``iterations`` of Lightning; ``state``: the last checkpoint; ``rows`` of the history at the end.
    """
    iterations, states = [], []
    step, save = Tagger.training_step, Checkpoints.save

    def training_step(self: Tagger, run: Run, index: int) -> torch.Tensor:
        iterations.append(len(run))
        return step(self, run, index)

    def saved(self: Checkpoints, *args: Any) -> None:
        save(self, *args)
        states.append(load(self.scratch / "last.ckpt"))

    status = 0
    with (
        patch("jetloom.training.datamodule.LONGEST", longest),
        patch.object(Tagger, "training_step", training_step),
        patch.object(Checkpoints, "save", saved),
        patch.object(TrackerCallback, "STEPS", 2),
    ):
        try:
            train(
                directory / "jets/manifest.json", directory / name, model="salt", preset=None, options=SALT,
                tasks=resolve_tasks(None, "task"), training=Training(**(RECIPE | recipe)), seed=1,
                run=RUN | {"seed": 1}, scratch=directory / f"{name}-scratch", threads=1, **where,
            )  # fmt: skip
        except SystemExit as end:
            status = int(str(end))
    return {
        "status": status,
        "iterations": len(iterations),
        "state": {name: states[-1][name] for name in ("model", "optimiser")},
        "rows": history(directory / name) if not status else [],
    }


@contextmanager
def stopped() -> Iterator[None]:
    """SIGTERM comes in the middle of a run."""
    loss = Tagger._loss

    def with_signal(self: Tagger, batch: Any) -> torch.Tensor:
        if self.progress.step + 1 == STOPPED_IN:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch)

    with patch.object(Tagger, "_loss", with_signal):
        yield


def tensors(state: dict[str, Any]) -> list[torch.Tensor]:
    """Weights, moments, counters of steps."""
    leaves = pytree.tree_leaves({"model": state["model"], "optimiser": state["optimiser"]["state"]})
    return [torch.as_tensor(leaf) for leaf in leaves]


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """The same history, weights and state of the optimiser, bit for bit."""
    pairs = zip(tensors(a["state"]), tensors(b["state"]), strict=True)
    return a["rows"] == b["rows"] and all(torch.equal(one, other) for one, other in pairs)


def losses(of: dict[str, Any]) -> list[float]:
    """Of the epochs, in training and validation."""
    return [float(row[f"{split}_loss"]) for row in of["rows"] for split in ("train", "val")]


def with_optimiser(directory: Path, optimiser: str) -> dict[str, Any]:
    """Steps one by one, in runs, ended and resumed, ordinary ones, and such as go on from the other device."""
    recipe = {"optimizer": optimiser}
    anywhere = recipe | {"compile": "auto"}
    single = fitted(directory, f"{optimiser}-single", recipe, longest=1)
    runs = fitted(directory, f"{optimiser}-runs", recipe)
    ordinary = fitted(directory, f"{optimiser}-off", recipe | {"compile": "off"})
    with stopped():
        ended = fitted(directory, f"{optimiser}-ended", recipe)
        fitted(directory, f"{optimiser}-from-gpu", anywhere)
        with patch.dict(os.environ, {CPU: "1"}):
            fitted(directory, f"{optimiser}-from-cpu", anywhere)
    resumed = fitted(directory, f"{optimiser}-ended", recipe)
    from_cpu = fitted(directory, f"{optimiser}-from-cpu", anywhere)
    with patch.dict(os.environ, {CPU: "1"}):
        from_gpu = fitted(directory, f"{optimiser}-from-gpu", anywhere)
    others = {"ordinary": ordinary, "from a CPU": from_cpu, "on a CPU": from_gpu}
    return {
        "iterations": [single["iterations"], runs["iterations"], ordinary["iterations"]],
        "same": same(single, runs),
        "status": [ended["status"], resumed["status"]],
        "resumed": same(resumed, runs),
        "losses": losses(runs),
        "others": {name: losses(other) for name, other in others.items()},
    }


def tracked(directory: Path) -> dict[str, Any]:
    """Losses of every second step as MLflow has them, and what they are."""
    prepare(None, [f"{RUN['experiment']}/{RUN['dataset']}"], directory, directory / "store.json")
    found = {}
    for longest in (1, LONGEST):
        name = f"tracked-{longest}"
        fitted(directory, name, {"optimizer": "adam"}, longest, store=directory / "store.json")
        facts = json.loads((directory / name / "training.json").read_text())["mlflow"]
        points = open_client(facts["uri"]).get_metric_history(facts["run_id"], "train/step_loss")
        found[longest] = sorted((point.step, point.value) for point in points)
    return {"steps": [step for step, _ in found[LONGEST]], "same": found[1] == found[LONGEST]}


def all_runs(directory: Path) -> dict[str, Any]:
    """What was found."""
    write_tensors(directory / "jets", JETS, BATCH)
    found = {optimiser: with_optimiser(directory, optimiser) for optimiser in ("ranger", "adam", "adamw")}
    numbers = {"steps": STEPS, "in runs": ITERATIONS}
    return found | {"tracked": tracked(directory), "numbers": numbers}
