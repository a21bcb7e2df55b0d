"""Each task in a training by Lightning on the pretended GPU, its steps recorded as soon as that is so by itself."""

from tests.support.pretended_gpu import Record, recording  # isort: skip  (before torch)

import json
import os
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from jetloom.config import Training, resolve_tasks
from jetloom.evaluation.evaluate import score
from jetloom.tracking.store import open_client, prepare
from jetloom.training.checkpoint import load, load_model, task_of
from jetloom.training.module import Tagger
from jetloom.training.train import train
from tests.support.outcome import history
from tests.support.tensors import BUCKETS, write_codes, write_tensors
from tests.support.trainings import OPTIONS, RUN

BATCH = 32


class Case(NamedTuple):
    """A training."""

    model: str
    task: Any
    recipe: dict[str, Any]
    options: dict[str, Any] = {}  # noqa: RUF012
    codes: bool = False


SMALL_VQVAE = {"codes": 24, "width": 16, "blocks": 1, "heads": 2, "patience": 1}
SMALL_JETCLR = {"width": 16, "layers": 1, "heads": 2, "hidden": 16}
REGRESSION = {"target": "jet_nparticles"}
CASES = {
    "classification": Case("transformer", None, {"precision": "bf16", "optimizer": "ranger"}, OPTIONS),
    "classification, clipped": Case("transformer", None, {"precision": "auto", "gradient_clip": 1.0}, OPTIONS),
    "regression": Case("transformer", {"regression": REGRESSION}, {"precision": "16", "optimizer": "adam"}, OPTIONS),
    "combined": Case("pfn", {"classification": {}, "regression": REGRESSION | {"weight": 0.5}}, {"precision": "tf32"}),
    "tokenisation": Case("vqvae", "tokenisation", {"precision": "32", "optimizer": "ranger"}, SMALL_VQVAE),
    "tokenisation by clusters": Case("kmeans", "tokenisation", {"precision": "bf16"}, {"codes": 24}),
    "next_token": Case("omnijet", "next_token", {"precision": "bf16"}, {"width": 16, "blocks": 1, "heads": 2}, True),
    "masked_token": Case("transformer", {"masked_token": {"codes": 20}}, {"precision": "bf16"}, OPTIONS),
    "contrastive": Case("jetclr", "contrastive", {"precision": "16"}, SMALL_JETCLR),
}  # fmt: skip
LONGEST = 3
"""Batches of a run, of which an epoch then has more than one."""
EPOCHS = 3
"""Of two batches for each bucket: two ordinary ones, two in fixed shapes, two of one recording."""
SMALL_PART = {"embedding": [16], "blocks": 1, "class_blocks": 1, "heads": 2, "ffn_ratio": 1, "pair_embedding": [8]}
RECORDED = Case(
    "part",
    None,
    {"gradient_clip": 0.1, "freeze": "encoder", "freeze_random": True, "unfreeze_after": 2, "optimizer": "ranger"}
    | {"batch_phases": [(BATCH, 4), (BATCH // 2, 1)]},
    SMALL_PART | {"dropout": 0.0},
)
"""Clipped, frozen at first, in batches of two sizes; trained with recorded steps and without, in two precisions."""
STOPPED_AFTER = 2 * len(BUCKETS) * 3 + 3
"""Steps, in the middle of the second epoch in which the encoder is free: some of those were played back."""


class Phases:
    """Which part of a training an event belongs to."""

    def __init__(self, record: Record) -> None:
        self.record, self.begins = record, [(0, "before")]

    def begin(self, phase: str) -> None:
        self.begins.append((len(self.record.events), phase))

    def of(self, phase: str, kind: str) -> list[str]:
        ends = [*(begin for begin, _ in self.begins[1:]), len(self.record.events)]
        parts = [
            self.record.events[begin:end] for (begin, name), end in zip(self.begins, ends, strict=True) if name == phase
        ]
        return sorted({str(event) for part in parts for event in part if event.kind == kind})


def trained(case: Case, data: dict[bool, Path], directory: Path, stopped_after: int | None = None) -> dict[str, Any]:
    """A training, with what the steps and the validation waited for.

    Args:
        case: which one.
        data: of the two kinds.
        directory: for its files.
        stopped_after: steps, at which it is told to end; then it goes on in a second try. Its losses go to MLflow.
    """
    hooks = {
        "on_train_batch_start": "step",
        "on_train_batch_end": "end of the epoch",
        "on_validation_epoch_start": "validation",
        "on_validation_epoch_end": "end of the epoch",
    }
    with recording() as record, ExitStack() as patched:
        phases, stops = Phases(record), list[int]()

        def noting(name: str, phase: str) -> Any:
            plain = getattr(Tagger, name)

            def hook(self: Tagger, *args: Any) -> Any:
                result = plain(self, *args)
                if name == "on_train_batch_start" and stopped_after and not stops:
                    done = self.progress.step
                    if done < stopped_after <= done + len(args[0]):
                        stops.append(stopped_after)
                        os.kill(os.getpid(), signal.SIGTERM)
                if name != "on_train_batch_end" or self.trainer.is_last_batch:
                    phases.begin(phase)
                return result

            return patch.object(Tagger, name, hook)

        for name, phase in hooks.items():
            patched.enter_context(noting(name, phase))
        patched.enter_context(patch("jetloom.training.datamodule.LONGEST", LONGEST))
        fit = partial(
            train,
            data[case.codes],
            directory / "run",
            model=case.model,
            preset=None,
            options=case.options,
            tasks=resolve_tasks(case.task, "task"),
            training=Training(**({"epochs": EPOCHS, "batch_size": BATCH} | case.recipe)),
            seed=1,
            run=RUN | {"seed": 1},
            scratch=directory / "scratch",
            store=directory / "store.json" if stopped_after else None,
            threads=1,
        )
        if stopped_after:
            prepare(None, [f"{RUN['experiment']}/{RUN['dataset']}"], directory, directory / "store.json")
        status = 0
        try:
            fit()
        except SystemExit as end:
            status = int(str(end))
            fit()
    rows = history(directory / "run")
    tracked = json.loads((directory / "run/training.json").read_text())["mlflow"]
    return {
        "tracked": tracked and _losses(tracked),
        "status": status,
        "step": phases.of("step", "wait"),
        "validation": phases.of("validation", "wait"),
        "copied": len(phases.of("step", "copy")),
        "graphs": sum(event.kind == "graph" for event in record.events),
        "sorted": phases.of("step", "sorted gradient"),
        "losses": [float(row[f"{split}_loss"]) for row in rows for split in ("train", "val")],
        "tf32": [torch.get_float32_matmul_precision() != "highest", torch.backends.cudnn.allow_tf32],
    }


def _losses(tracked: dict[str, Any]) -> list[float]:
    """Those of the epochs, as MLflow has them."""
    points = open_client(tracked["uri"]).get_metric_history(tracked["run_id"], "val/loss")
    return [point.value for point in sorted(points, key=lambda point: point.step)]


def data_of(directory: Path) -> dict[bool, Path]:
    """Jets, and codes: two batches of each bucket."""
    jets = 2 * BATCH * len(BUCKETS)
    return {
        False: write_tensors(directory / "jets", jets, BATCH),
        True: write_codes(directory / "codes", 24, jets, BATCH),
    }


def all_tasks(directory: Path) -> dict[str, dict[str, Any]]:
    """What each training did."""
    data = data_of(directory)
    found = {name: trained(case, data, directory / name) for name, case in CASES.items()}
    found["classification"]["after"] = after(directory / "classification" / "run", data[False])
    return found


def after(output: Path, manifest: Path) -> dict[str, Any]:
    """The loss of the best epoch in validation, and what evaluations of its checkpoint make of it."""
    summary = json.loads((output / "training.json").read_text())
    model, content = load_model(output / "best.ckpt")
    found: dict[str, Any] = {"validation": float(history(output)[summary["best_epoch"]]["val_loss"])}
    for precision in ("bf16", "32"):
        scored = list(score(model, task_of(content), manifest, "val", BATCH, precision))
        right = [values[range(len(label)), label] for values, label, _ in scored]
        found[precision] = -float(np.log(np.concatenate(right), dtype=np.float64).mean())
    state = load(output / "best.ckpt")["state_dict"].values()
    return found | {"types": sorted({str(value.dtype) for value in state if value.is_floating_point()})}


def all_recorded(directory: Path) -> dict[str, Any]:
    """What a training did whose steps are recorded, beside the same without, and one that was ended and went on."""
    data = data_of(directory)

    def run(precision: str, way: str, name: str, stopped_after: int | None = None) -> dict[str, Any]:
        case = RECORDED._replace(recipe=RECORDED.recipe | {"precision": precision, "compile": way})
        return trained(case, data, directory / precision / name, stopped_after)

    return {"buckets": len(BUCKETS)} | {
        precision: {
            "off": run(precision, "off", "off"),
            "graphs": run(precision, "graphs", "graphs"),
            "stopped": run(precision, "graphs", "stopped", STOPPED_AFTER),
        }
        for precision in ("32", "bf16")
    }
