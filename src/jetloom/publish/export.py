"""A trained model as one ONNX file, for programs without PyTorch: trigger emulation, C++ frameworks, browsers.

The file takes the arrays of a :class:`jetloom.batch.Batch` by name and carries, as metadata, what is needed to fill
them. It appears only after onnxruntime has given the same answer as PyTorch.
"""

import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.catalogue.cards import model_card, task_card
from jetloom.errors import JetloomError
from jetloom.evaluation.cost import made_up_pool
from jetloom.system.files import appearing
from jetloom.tasks.task import Task
from jetloom.training.checkpoint import CLASSIFIES, load_model, task_of

Output = Literal["scores", "logits"]
"""What the task says of a jet, or the network's own answer before that."""
TOLERANCE = 1e-4
"""Largest difference between onnxruntime and PyTorch, as a share of the largest output or of 1."""
MOST_JETS = 1 << 20
"""Upper end of the batch axis that the tracer is told; the file itself has none."""


class ByName(nn.Module):
    """A model that takes the arrays of a batch one by one, which is how a graph takes them.

    Args:
        model: batch to what the network says.
        task: makes of it what is said of a jet; None: the network's answer comes out as it is.
    """

    def __init__(self, model: nn.Module, task: Task | None) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, features: Tensor, vectors: Tensor | None, coordinates: Tensor, mask: Tensor) -> Tensor:
        """Arrays as in :class:`jetloom.batch.Batch` to (B, K)."""
        answer = self.model(Batch(features, vectors, coordinates, mask))
        return answer if self.task is None else self.task.outputs(answer)


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


@torch.no_grad()
def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    task: Task | None = None,
    name: str = "logits",
    n_features: int,
    kind: Literal["jets", "points"],
    longest: int,
    notes: dict[str, Any] | None = None,
) -> None:
    """Write a model as one ONNX file that takes any number of jets; compared with PyTorch before it appears.

    Inputs are called ``features``, ``vectors`` (jets only), ``coordinates`` and ``mask`` as in
    :class:`jetloom.batch.Batch`; those that the architecture does not read are left out. The particle axis is free too,
    up to ``longest``, but for point clouds, all of which have ``longest`` points. Padded slots may hold anything.

    Args:
        model: in evaluation mode, on the CPU.
        path: file to write.
        task: what it was trained to do; None: the network's own answer comes out.
        name: of what comes out, (B, K) float32.
        n_features: F.
        kind: what the model reads.
        longest: most particles of a jet.
        notes: metadata; texts as they are, everything else as JSON.

    Raises:
        JetloomError: the packages of the extra "export" are missing, or onnxruntime gives another answer.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise JetloomError(f"export needs the package {error.name}: pip install 'jetloom[export]'") from None
    graph = ByName(model, task).eval()
    narrow = longest if kind == "points" else max(2, longest // 2)
    example = _inputs(n_features, kind, 3, narrow)
    axes: dict[int, Any] = {0: torch.export.Dim("jets", min=1, max=MOST_JETS)}
    if narrow < longest:
        axes[1] = torch.export.Dim("particles", min=2, max=longest)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        # What the exporter says of its registry is of no use to whoever exports.
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph,
                tuple(example[:4]),
                input_names=[name for name, value in zip(Batch._fields, example, strict=True) if value is not None],
                output_names=[name],
                dynamic_shapes=tuple(None if value is None else axes for value in example[:4]),
                dynamo=True,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    proto = cast("torch.onnx.ONNXProgram", program).model_proto
    described = {
        **(notes or {}),
        "kind": kind,
        "max_particles": longest,
        "output": name,
        "jetloom": version("jetloom"),
        "torch": torch.__version__,
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in described.items()}
    onnx.helper.set_model_props(proto, texts)
    content = proto.SerializeToString()
    for jets, particles in ((1, narrow), (2, longest), (5, max(2, narrow // 2) if kind == "jets" else narrow)):
        _compare(content, graph, _inputs(n_features, kind, jets, particles), path)
    with appearing(path) as partial:
        partial.write_bytes(content)


def _inputs(n_features: int, kind: str, jets: int, particles: int) -> Batch:
    """Made-up jets, of which every other one is half empty, or full point clouds."""
    batch = made_up_pool(n_features, kind == "jets").batch(jets, particles)
    if kind == "jets":
        batch.mask[1::2, (particles + 1) // 2 :] = False
    return batch


def _compare(content: bytes, graph: nn.Module, batch: Batch, path: Path) -> None:
    """Refuse a graph that does not do what the model does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    arrays = {item.name: getattr(batch, item.name).numpy() for item in session.get_inputs()}
    found = torch.from_numpy(session.run(None, arrays)[0])
    expected = graph(*batch[:4])
    difference = (found - expected).abs().max().item()
    allowed = TOLERANCE * max(1.0, expected.abs().max().item())
    if not difference <= allowed:
        raise JetloomError(
            f"{path}: not written, as onnxruntime and PyTorch differ by {difference:.1e} (allowed {allowed:.1e})"
        )
