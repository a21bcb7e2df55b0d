"""Evaluation and prediction on the pretended GPU."""

from tests.support.pretended_gpu import recording  # isort: skip  (before torch)

from pathlib import Path
from typing import Any

import numpy as np
import torch

from jetloom.config import resolve_tasks
from jetloom.data.read.loader import Loader
from jetloom.evaluation.evaluate import score
from jetloom.models import build
from jetloom.models.layers.attention import attend
from jetloom.tasks.registry import make
from jetloom.tasks.task import Data
from tests.support.tensors import CLASSES, write_tensors

GPU = torch.device("cuda")


def all_verbs(directory: Path) -> dict[str, Any]:
    """What was found."""
    manifest = write_tensors(directory / "evaluated", 32, 640)
    torch.manual_seed(1)
    model = build("transformer", n_features=7, n_classes=3, embedding=(16,), blocks=1, heads=2, ffn_ratio=1)
    task = make(resolve_tasks(None, "task"), Data(CLASSES, []))
    on_cpu = model.eval()
    with torch.no_grad():
        expected = np.concatenate([
            task.outputs(task.answer(on_cpu, batch)).numpy()
            for batch in Loader(manifest, "val", batch_size=32, shuffle=False)
        ])  # fmt: skip
    model.to(GPU)
    found: dict[str, Any] = {"batches": len(Loader(manifest, "val", batch_size=32, shuffle=False))}
    for precision in ("32", "tf32", "bf16", "16"):
        with recording() as record:
            scored = list(score(model, task, manifest, "val", 32, precision))
        values = np.concatenate([values for values, _, _ in scored])
        found[precision] = {
            "waits": record.of("wait"),
            "copied": len(record.of("copy")),
            "error": float(np.abs(values - expected).max()),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    found["many"] = many()
    return found


def many() -> dict[str, Any]:
    """Attention of more sets than a kernel takes, as groups of particles are in large batches."""
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(65_540, 2, 8, generator=generator) for _ in range(3))
    bias = torch.randn(65_540, 1, 2, 2, generator=generator)
    expected = attend(query, key, value, 2, bias)
    answer = attend(*(x.to(GPU) for x in (query, key, value)), 2, bias.to(GPU))
    return {"error": float((answer.cpu() - expected).abs().max())}
