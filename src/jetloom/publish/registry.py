"""The best model of each data set and architecture, registered under a name: ``models:/jetclass-sim-salt@champion``.

It takes the arrays of a :class:`jetloom.batch.Batch` by name and gives what its task says of a jet, for a
classification ``{"scores": (B, C)}``, either as ONNX, which needs onnxruntime alone, or as the checkpoint of the
training, which needs jetloom.
"""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jetloom.batch import Batch
from jetloom.config import Monitor
from jetloom.tracking.store import patiently
from jetloom.training.checkpoint import load, load_model, task_of

ALIAS = "champion"
FOLDER = "model"
"""Where a run keeps its registered model among its artifacts."""
WIDTHS = {"jets": {"vectors": 4, "coordinates": 2}, "points": {"coordinates": 3}, "tokens": {}}


class Loaded:
    """A checkpoint as MLflow's ``pyfunc`` calls it."""

    def __init__(self, checkpoint: Path) -> None:
        self.model, saved = load_model(checkpoint)
        self.task = task_of(saved)

    @torch.inference_mode()
    def predict(self, data: Mapping[str, NDArray[Any]], params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the task says, of ``features (B, N, F)``, ``vectors (B, N, 4)``, ``coordinates`` and ``mask (B, N)``."""
        arrays = {name: torch.from_numpy(np.ascontiguousarray(data[name])) for name in Batch._fields if name in data}
        none = torch.empty(*arrays["mask"].shape, 0)
        given = (arrays["features"], arrays.get("vectors"), arrays.get("coordinates", none), arrays["mask"])
        return {self.task.output: self.task.outputs(self.model(Batch(*given))).numpy()}


def _load_pyfunc(path: str) -> Loaded:
    """MLflow calls this name, with the copy of the checkpoint."""
    return Loaded(Path(path))


def save(checkpoint: Path, directory: Path, *, onnx: bool) -> None:
    """Write a model as a directory of MLflow, with its signature.

    Args:
        checkpoint: ``best.ckpt`` of a training.
        directory: to make.
        onnx: as ONNX, compared with the checkpoint's own answer; else the checkpoint itself.

    Raises:
        JetloomError: not a checkpoint, or the extra "export" is missing.
    """
    saved = load(checkpoint)
    described = {name: saved["manifest"][name] for name in ("dataset", "digest", "classes", "features")}
    standardisation = {"standardisation": saved["manifest"]["standardisation"], "run": saved["run"]}
    metadata = {"jetloom": described | standardisation}
    if not onnx:
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(
            directory,
            loader_module="jetloom.publish.registry",
            data_path=str(checkpoint),
            signature=_signature(saved, ["features", "vectors", "coordinates", "mask"]),
            pip_requirements=[f"jetloom=={version('jetloom')}"],
            metadata=metadata,
        )
        return
    from jetloom.publish.export import export

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        export(checkpoint, file)
        import mlflow.onnx
        import onnx as onnx_package

        graph = onnx_package.load(file)
        # What the architecture does not read is no input of the graph.
        read = [item.name for item in graph.graph.input]
        mlflow.onnx.save_model(
            graph,
            directory,
            signature=_signature(saved, read),
            pip_requirements=[f"onnxruntime=={version('onnxruntime')}"],
            metadata=metadata,
        )


def _signature(saved: Mapping[str, Any], names: list[str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    kind = saved["manifest"]["kind"]
    widths = {"features": len(saved["manifest"]["features"]), **WIDTHS[kind]}
    single, logical = np.dtype("float32"), np.dtype("bool")
    read = np.dtype("int16") if kind == "tokens" else single
    inputs: list[ColSpec | TensorSpec] = [
        TensorSpec(read, (-1, -1, widths[name]), name) for name in names if name in widths
    ]
    inputs += [TensorSpec(logical, (-1, -1), "mask")] if "mask" in names else []
    task = task_of(saved)
    outputs: list[ColSpec | TensorSpec] = [TensorSpec(single, (-1, len(task.columns)), task.output)]
    return ModelSignature(Schema(inputs), Schema(outputs))


def register(
    client: Any, name: str, run_id: str, checkpoint: Path, *, onnx: bool, figure: float, monitor: Monitor, data: str
) -> tuple[str, bool]:
    """Register the model of a run, and call it champion unless a better one of the same data is it already.

    Args:
        client: of MLflow.
        name: of the registered model.
        run_id: of the training; if it is registered already, nothing is saved again.
        checkpoint: ``best.ckpt`` of the training.
        onnx: as in ``save``.
        figure: the validation figure that chose the epoch; never one of the test split.
        monitor: its name, and which way it is better.
        data: digest of the manifest.

    Returns:
        Version, and whether it is the champion now.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{name}'")
    mine = [item for item in known if item.run_id == run_id]
    tags = {"monitor": monitor.name, "validation": repr(figure), "data.manifest_sha": data}
    if mine:
        found = mine[0].version
    else:
        with tempfile.TemporaryDirectory() as scratch:
            save(checkpoint, Path(scratch) / FOLDER, onnx=onnx)
            patiently(client.log_artifacts, run_id, scratch)
        source = f"runs:/{run_id}/{FOLDER}"
        found = patiently(client.create_model_version, name, source, run_id, tags=tags).version
    # Asked for by its alias: what a search finds does not say it.
    aliased = client.get_registered_model(name).aliases.get(ALIAS)
    wins = not any(
        _better(item.tags, tags, monitor) for item in known if str(item.version) == str(aliased) != str(found)
    )
    if wins:
        patiently(client.set_registered_model_alias, name, ALIAS, found)
    return str(found), wins


def _better(other: Mapping[str, str], mine: Mapping[str, str], monitor: Monitor) -> bool:
    """Whether a champion stays: same data, same figure, a better value."""
    if any(other.get(name) != mine[name] for name in ("monitor", "data.manifest_sha")):
        return False
    return monitor.score(float(other["validation"])) > monitor.score(float(mine["validation"]))
