"""A model as one ONNX file: written by torch, compared with PyTorch in onnxruntime before it appears."""

import json
import logging
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetloom.batch import Batch
from jetloom.errors import JetloomError
from jetloom.evaluation.pool import made_up_pool
from jetloom.system.files import appearing
from jetloom.tasks.task import Task

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


class Session:
    """An ONNX file in onnxruntime, on the CPU.

    Args:
        file: path of the file, or what is in it.
        threads: CPU threads.

    Raises:
        JetloomError: onnxruntime is missing.
    """

    def __init__(self, file: Path | bytes, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise JetloomError(f"an ONNX file needs the package {error.name}: pip install 'jetloom[export]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs: list[str] = [item.name for item in self._session.get_inputs()]
        """Arrays of a batch that the graph reads."""

    def answer(self, batch: Batch) -> NDArray[np.float32]:
        """(B, K) of a batch on the CPU."""
        return np.asarray(self._session.run(None, fed(batch, self.inputs))[0])


def fed(batch: Batch, inputs: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of a batch by name, as onnxruntime takes them."""
    return {name: getattr(batch, name).numpy() for name in inputs}


@torch.no_grad()
def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    task: Task | None = None,
    name: str = "logits",
    n_features: int,
    kind: Literal["jets", "points", "tokens"],
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
    for jets, particles in ((1, narrow), (2, longest), (5, narrow if kind == "points" else max(2, narrow // 2))):
        _compare(content, graph, _inputs(n_features, kind, jets, particles), path)
    with appearing(path) as partial:
        partial.write_bytes(content)


def _inputs(n_features: int, kind: str, jets: int, particles: int) -> Batch:
    """Made-up jets, of which every other one is half empty, or full point clouds."""
    batch = made_up_pool(n_features, kind).batch(jets, particles)
    if kind != "points":
        batch.mask[1::2, (particles + 1) // 2 :] = False
    return batch


def _compare(content: bytes, graph: nn.Module, batch: Batch, path: Path) -> None:
    """Refuse a graph that does not do what the model does."""
    found = torch.from_numpy(Session(content).answer(batch))
    expected = graph(*batch[:4])
    difference = (found - expected).abs().max().item()
    allowed = TOLERANCE * max(1.0, expected.abs().max().item())
    if not difference <= allowed:
        raise JetloomError(
            f"{path}: not written, as onnxruntime and PyTorch differ by {difference:.1e} (allowed {allowed:.1e})"
        )
