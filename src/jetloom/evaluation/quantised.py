"""A trained network in fewer bits, through its exported file in onnxruntime on the CPU: what it then says of each jet.

int8: onnxruntime's own static quantiser. Weights and activations of matrix products and convolutions are signed 8-bit
integers, weights with one scale for each output channel, activations with one scale each, from the smallest and the
largest value on some training jets; sums are 32-bit integers. Everything between these products stays float32.

bf16: emulated. onnxruntime has no bfloat16 products on a CPU (1.32: no MatMul), so the parameters are rounded to
bfloat16 (nearest, ties to even) before the export and all arithmetic is float32: it shows what rounded weights cost,
not what rounded sums do.
"""

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jetloom.batch import Batch
from jetloom.catalogue.cards import task_card
from jetloom.config.effects import Kind
from jetloom.data.prepare.manifest import Manifest
from jetloom.data.read.loader import Loader
from jetloom.errors import JetloomError
from jetloom.evaluation.onnx import Session, export_onnx, fed
from jetloom.tasks.task import Task
from jetloom.training.checkpoint import CLASSIFIES

CALIBRATION = 512
"""Training jets from which the ranges of activations are taken."""
BATCH = 128
"""Of the calibration."""
PRODUCTS = ["MatMul", "Gemm", "Conv"]
"""Operations of an ONNX graph that are quantised."""
HOW = {
    "int8": f"weights and activations of matrix products, calibrated on {CALIBRATION} training jets",
    "bf16": "emulated: weights rounded, arithmetic in float32",
}


class Quantised(NamedTuple):
    """A network in one format."""

    values: NDArray[np.float32]
    """(N, K) what its task says of each jet of the split, in the order of the loader."""
    megabytes: float
    """Of the ONNX file, 10^6 bytes."""

    def facts(self, form: str) -> dict[str, Any]:
        """What ``metrics.json`` says of how it was made."""
        return {"how": HOW[form], "megabytes": self.megabytes, "onnxruntime": version("onnxruntime")}


class Refused(Exception):
    """The network cannot be had in this format; says why in one line."""


def require() -> None:
    """Refuse to begin without the packages.

    Raises:
        JetloomError: the extra "export" is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise JetloomError(
            f"evaluation.quantised needs the package {error.name}: pip install 'jetloom[export]', or leave the key out"
        ) from None


def quantised(
    form: str,
    model: nn.Module,
    task: Task,
    saved: Mapping[str, Any],
    manifest: Path,
    split: str,
    *,
    batch_size: int,
    threads: int = 1,
) -> Quantised:
    """Score a split in a format.

    Args:
        form: a key of ``HOW``.
        model: trained network, which stays as it is.
        task: what it was trained to do.
        saved: what its checkpoint says of it.
        manifest: ``manifest.json`` of the tensors.
        split: to score.
        batch_size: jets scored at once.
        threads: CPU threads.

    Raises:
        Refused: the network does not export, or onnxruntime cannot quantise or run it.
    """
    if pre := [item["name"] for item in saved.get("tasks", CLASSIFIES) if task_card(item["name"]).pretrains]:
        raise Refused(f"a pre-training ({pre[0]}) says nothing of a jet")
    if form == "int8" and "train" not in Manifest.read(manifest).splits:
        raise Refused("the data have no training jets to calibrate on")
    network = copy.deepcopy(model).cpu().eval()
    if form == "bf16":
        round_parameters(network)
    with tempfile.TemporaryDirectory(prefix="jetloom-") as directory:
        try:
            file = _export(network, task, saved, manifest, Path(directory) / "float32.onnx")
            if form == "int8":
                file = _int8(file, manifest)
            values = _answers(Session(file, threads), manifest, split, batch_size)
        except Exception as error:
            # What tracers and runtimes raise has no common class, and the float32 figures must not depend on it.
            first = (str(error).strip().splitlines() or [""])[0]
            raise Refused(f"{saved['model']} cannot be had in {form} ({type(error).__name__}: {first[:200]})") from None
        return Quantised(values, round(file.stat().st_size / 1e6, 6))


@torch.no_grad()
def round_parameters(network: nn.Module) -> None:
    """Round every parameter to bfloat16, in place, and keep it as float32."""
    for parameter in network.parameters():
        parameter.copy_(parameter.bfloat16().to(parameter.dtype))


def _export(network: nn.Module, task: Task, saved: Mapping[str, Any], manifest: Path, path: Path) -> Path:
    described = Manifest.read(manifest)
    export_onnx(
        network, path, task=task, name=task.output, n_features=saved["n_features"],
        kind=cast("Kind", described.kind), longest=saved["max_particles"],
    )  # fmt: skip
    return path


def _int8(file: Path, manifest: Path) -> Path:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, output = file.with_name("prepared.onnx"), file.with_name("int8.onnx")
    batches = calibration(manifest)
    inputs = Session(file).inputs

    class Reader:
        """Gives onnxruntime one batch after another, and None when there is no more."""

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(batches, None)
            return None if batch is None else fed(batch, inputs)

    with quiet():
        quant_pre_process(file, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, output, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=PRODUCTS, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": PRODUCTS},
        )  # fmt: skip
    return output


def calibration(manifest: Path) -> Iterator[Batch]:
    """Training jets of all lengths, the same ones each time: at most ``CALIBRATION``."""
    seen = 0
    for batch in Loader(manifest, "train", batch_size=BATCH, shuffle=True, seed=0):
        if seen >= CALIBRATION:
            return
        yield batch.map(itemgetter(slice(CALIBRATION - seen)))
        seen += len(batch.mask)


def _answers(session: Session, manifest: Path, split: str, batch_size: int) -> NDArray[np.float32]:
    batches = Loader(manifest, split, batch_size=batch_size, shuffle=False)
    return np.concatenate([session.answer(batch) for batch in batches])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the quantiser says of its own options to itself."""
    logger = logging.getLogger()
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
