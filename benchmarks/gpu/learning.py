"""Whole trainings, as `jetloom train` does them: whether they learn the same, go on exactly, and how fast they are."""

import csv
import os
import shutil
import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from work import Order, Piece

from jetloom.config import Training
from jetloom.models.fast.triton import WANTED
from jetloom.system.device import CPU
from jetloom.training.callbacks import Checkpoints
from jetloom.training.runs import LONGEST
from jetloom.training.train import train

SEEDS = (1, 2, 3, 4)
STEPS = 300
SPREADS = 2.0
"""Means over the seeds may differ by so many times the range of the CPU's."""
BATCHES, SAVES = 20, 4
"""Batches of an epoch, which takes checkpoints after each of its runs but the last and at its end; a training is killed
at this checkpoint: after the first run of the second epoch, or in the first one where steps come one by one."""
RESUMED = 1e-3
"""Relative difference of the curves: a card adds in any order."""
PRESETS = {"part": "tiny", "salt": "tiny"}
MODES = ("off", "graphs", "inductor")
"""Of ``training.compile``."""


def _trained(
    order: Order, name: str, model: str, preset: str, seed: int, recipe: dict[str, Any]
) -> list[dict[str, float]]:
    """Rows of the history of a training."""
    output, scratch = order.scratch / name, order.scratch / f"{name}-scratch"
    shutil.rmtree(output, ignore_errors=True)
    run = {"experiment": "day", "dataset": "made-up", "model": model, "seed": seed, "title": name}
    train(
        order.manifest(), output, model=model, preset=preset, options={}, training=Training(**recipe),
        seed=seed, run=run, scratch=scratch,
    )  # fmt: skip
    with (output / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def learning(order: Order) -> Iterator[Piece]:
    """Losses of the last third of 300 steps, for some seeds: on the CPU, and on the card in each precision and mode."""
    models = list(PRESETS)[order.tiny :]
    reference: dict[str, list[float]] = {}
    for model in models:
        yield f"{model}, CPU, 32", partial(_on_cpu, order, model, reference)
    # What compiles longest comes last.
    for mode in MODES[1:2] if order.tiny else MODES:
        for model in models:
            for precision in ("bf16",) if order.tiny else ("32", "bf16"):
                yield f"{model}, {precision}, {mode}", partial(_beside, order, model, reference, precision, mode)


def _losses(order: Order, model: str, where: str, precision: str, mode: str) -> list[float]:
    """Of the last epoch, for each seed."""
    batch, steps = (32, 3) if order.tiny else (128, STEPS)
    recipe = {
        "epochs": 3, "samples_per_epoch": batch * steps // 3, "validation_samples": batch, "batch_size": batch,
        "optimizer": "ranger" if model == "part" else "adam", "learning_rate": 3e-3, "schedule": "constant",
        "precision": precision, "compile": mode,
    }  # fmt: skip
    seeds = SEEDS[:2] if order.tiny else SEEDS
    runs = [_trained(order, f"{where}-{model}", model, PRESETS[model], seed, recipe) for seed in seeds]
    return [rows[-1]["train_loss"] for rows in runs]


def _on_cpu(order: Order, model: str, reference: dict[str, list[float]]) -> dict[str, Any]:
    with patch.dict(os.environ, {CPU: "1"}):
        reference[model] = _losses(order, model, "cpu", "32", "off")
    return {"losses": reference[model], "mean": statistics.mean(reference[model])}


def _beside(order: Order, model: str, reference: dict[str, list[float]], precision: str, mode: str) -> dict[str, Any]:
    found, expected = _losses(order, model, "card", precision, mode), reference[model]
    off = statistics.mean(found) - statistics.mean(expected)
    spread = max(expected) - min(expected)
    return {"right": abs(off) <= SPREADS * spread, "off": off, "spread": spread, "losses": found}


class _Killed(BaseException):
    """Stands for kill -9: no code of jetloom handles it."""


def resume(order: Order) -> Iterator[Piece]:
    """A training that is killed after some steps and given again, beside one that was not."""
    batch = 32 if order.tiny else 128
    for mode in MODES[1:2] if order.tiny else MODES:
        for precision in ("32",) if order.tiny else ("32", "bf16"):
            recipe = {
                "epochs": 2, "samples_per_epoch": BATCHES * batch, "validation_samples": batch, "batch_size": batch,
                "optimizer": "ranger", "precision": precision, "compile": mode, "checkpoint_minutes": 1e-9,
            }  # fmt: skip
            yield f"{precision}, {mode}", partial(_resumed, order, recipe)


def _resumed(order: Order, recipe: dict[str, Any]) -> dict[str, Any]:
    whole = _trained(order, "whole", "part", "tiny", 1, recipe)
    save, saves = Checkpoints.save, 0

    def save_and_die(*arguments: Any) -> None:
        nonlocal saves
        save(*arguments)
        saves += 1
        if saves == SAVES:
            raise _Killed

    shutil.rmtree(order.scratch / "killed-scratch", ignore_errors=True)
    try:
        with patch.object(Checkpoints, "save", save_and_die):
            _trained(order, "killed", "part", "tiny", 1, recipe)
        return {"right": False, "error": "the training was not killed"}
    except _Killed:
        pass
    resumed = _trained(order, "killed", "part", "tiny", 1, recipe)
    names = [name for name in whole[0] if name != "seconds"]
    pairs = [(a[name], b[name]) for a, b in zip(whole, resumed, strict=True) for name in names]
    off = max(abs(a - b) / max(abs(a), 1e-9) for a, b in pairs)
    return {"right": off < RESUMED, "largest relative difference": off}


FAST = {
    "part": ("jetclass", 512, "bf16", "ranger", 100_000),
    "salt": ("jetclass", 512, "32", "adam", 400_000),
    "linformer": ("jetclass", 4096, "32", "adam", 800_000),
    "particlenet": ("jetclass", 512, "32", "ranger", 50_000),
    "lgatr_slim": ("size_study", 512, "32", "adamw", 50_000),
}
"""Trainings that are timed: preset of the network, batch, precision, optimiser, jets of an epoch."""


def trainings(order: Order) -> Iterator[Piece]:
    """Jets/s of the last of three epochs: the first ones compile. With the loader, Lightning and a short validation."""
    names = ["salt"] if order.tiny else list(FAST)
    # What compiles longest comes last.
    for mode in ("auto", "inductor") if order.tiny else ("off", "graphs", "auto", "inductor"):
        for model in names:
            for kernels in (False, True) if model == "part" and mode != "inductor" else (False,):
                preset, size, precision, optimizer, jets = FAST[model]
                if order.tiny:
                    preset, size, jets = "tiny", 32, 64
                recipe = {
                    "epochs": 3, "batch_size": size, "samples_per_epoch": jets, "validation_samples": size,
                    "precision": precision, "optimizer": optimizer, "schedule": "constant", "compile": mode,
                }  # fmt: skip
                rate = partial(_rate, order, model, preset, recipe, kernels)
                yield f"{model}, {mode}{', kernels' if kernels else ''}", rate
                if model == "salt" and mode == "auto":
                    yield f"{model}, {mode}, one by one", partial(rate, longest=1)


def _rate(
    order: Order, model: str, preset: str, recipe: dict[str, Any], kernels: bool, longest: int = LONGEST
) -> dict[str, Any]:
    torch.cuda.reset_peak_memory_stats()
    with patch.dict(os.environ, {WANTED: str(int(kernels))}), patch("jetloom.training.datamodule.LONGEST", longest):
        rows = _trained(order, f"rate-{model}", model, preset, 1, recipe)
    rates = [row["jets"] / max(row["seconds"], 1e-3) for row in rows]
    peak = torch.cuda.max_memory_allocated() / 2**30
    return {"jets_per_second": rates[-1], "of each epoch": rates, "peak_gb": peak, "recipe": recipe}
