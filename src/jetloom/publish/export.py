"""A trained model as one ONNX file, for programs without PyTorch: trigger emulation, C++ frameworks, browsers.

The file takes the arrays of a :class:`jetloom.batch.Batch` by name and carries, as metadata, what is needed to fill
them. It appears only after onnxruntime has given the same answer as PyTorch.
"""

from pathlib import Path
from typing import Literal

import torch

from jetloom.catalogue.cards import model_card, task_card
from jetloom.errors import JetloomError
from jetloom.evaluation.onnx import export_onnx
from jetloom.training.checkpoint import CLASSIFIES, load_model, task_of

Output = Literal["scores", "logits"]
"""What the task says of a jet, or the network's own answer before that."""


def export(checkpoint: Path, output: Path, *, values: Output = "scores", threads: int | None = None) -> None:
    """Write the model of a training as ONNX.

    Args:
        checkpoint: ``best.ckpt`` of a training.
        output: file to write; its metadata name features with their standardisation, classes, data set and training.
        values: what comes out: "scores", which are what the task says of a jet, or the network's "logits".
        threads: CPU threads.

    Raises:
        JetloomError: not a checkpoint of a training, the packages of the extra "export" are missing, or the exported
            graph gives another answer than the model.
    """
    if threads:
        torch.set_num_threads(threads)
    model, saved = load_model(checkpoint)
    try:
        trained = saved["manifest"]
        described = {
            "architecture": saved["model"],
            "title": model_card(saved["model"]).title,
            "options": saved["options"],
            "dataset": trained["dataset"],
            "data_digest": trained["digest"],
            "feature_set": trained["feature_set"],
            "features": trained["features"],
            "standardisation": trained["standardisation"],
            "classes": trained["classes"],
            "run": saved["run"],
            "seed": saved["seed"],
            "epoch": saved["epoch"],
        }
        kind = trained["kind"]
    except KeyError as error:
        raise JetloomError(f"{checkpoint}: says no {error} of its training; give best.ckpt of a training") from None
    if pre := [item["name"] for item in saved.get("tasks", CLASSIFIES) if task_card(item["name"]).pretrains]:
        raise JetloomError(f"{checkpoint}: a pre-training ({pre[0]}) says nothing of a jet; export what starts from it")
    task = task_of(saved)
    export_onnx(
        model,
        output,
        task=task if values == "scores" else None,
        name=task.output if values == "scores" else "logits",
        n_features=saved["n_features"],
        kind=kind,
        longest=trained["max_particles"],
        notes=described | {"tasks": saved.get("tasks", CLASSIFIES), "columns": task.columns},
    )
