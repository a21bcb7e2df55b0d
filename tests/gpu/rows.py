"""Each row of the registry on the pretended GPU: a step of training in each precision, and a prediction."""

from tests.support.pretended_gpu import recording  # isort: skip  (before torch)

import copy
import traceback
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from jetloom.models import build
from tests.models.rows import CLASSES, INPUTS, LONGEST, ROWS, preset_of, sample

GPU = torch.device("cuda")
PRECISIONS = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}


def looked_at(name: str, kind: str) -> dict[str, Any]:
    """One step of training in each precision beside the CPU's, and a prediction."""
    torch.manual_seed(1)
    sizes = {"n_features": INPUTS[kind], "n_classes": CLASSES, "max_particles": LONGEST[kind]}
    network = build(name, **sizes, preset=preset_of(name, kind))
    for module in network.modules():
        # So that both draw the same: nothing.
        for attribute in ("dropout", "rate", "drop_path", "p"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)
    batch = sample(kind)
    network.train()
    found: dict[str, Any] = {}
    on_cpu = copy.deepcopy(network)
    expected = on_cpu(batch)
    cross_entropy(expected, batch.labels).backward()
    moved = batch.to(GPU)
    for precision, dtype in PRECISIONS.items():
        on_gpu = copy.deepcopy(network).to(GPU)
        with recording() as record:
            with torch.autocast("cuda", dtype or torch.bfloat16, enabled=dtype is not None):
                answer = on_gpu(moved)
            cross_entropy(answer.float(), moved.labels).backward()
        gradients = [(p.grad, q.grad) for p, q in zip(on_gpu.parameters(), on_cpu.parameters(), strict=True)]
        off = torch.stack([(p.cpu() - q).square().sum() for p, q in gradients if p is not None and q is not None])
        size = torch.stack([q.square().sum() for _, q in gradients if q is not None])
        found[precision] = {
            "waits": record.of("wait"),
            "sorted": record.of("sorted gradient"),
            "unfused": record.of("unfused attention"),
            "casts": record.of("cast"),
            "operators": record.operators,
            "answer": float((answer.detach().float().cpu() - expected).abs().max() / expected.abs().max()),
            "gradient": float((off.sum() / size.sum()).sqrt()),
            "without": sum((p is None) != (q is None) for p, q in gradients),
        }
    on_gpu, on_cpu = copy.deepcopy(network).eval().to(GPU), copy.deepcopy(network).eval()
    with torch.no_grad(), recording() as record:
        answer, expected = on_gpu(moved), on_cpu(batch)
        found["prediction"] = {
            "waits": record.of("wait"),
            "answer": float((answer.cpu() - expected).abs().max() / expected.abs().max()),
        }
    return found


def all_rows() -> dict[str, Any]:
    """What was found of each row, or the traceback of its error."""
    results = {}
    for name, kind in ROWS:
        try:
            results[f"{name} {kind}"] = looked_at(name, kind)
        except Exception:
            results[f"{name} {kind}"] = {"error": traceback.format_exc()}
    return results
