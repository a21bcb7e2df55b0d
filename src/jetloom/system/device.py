"""On what a process computes, and how exactly."""

import os

import torch

from jetloom.errors import JetloomError
from jetloom.system.gpus import driver, visible

CPU = "JETLOOM_CPU"
"""Variable that, set to anything, says to compute on the CPU whatever GPUs there are."""


def gpu() -> bool:
    """Whether there is a GPU to compute on."""
    return not os.environ.get(CPU) and torch.cuda.is_available()


def check_gpus() -> None:
    """See that torch can use the GPUs of this process, which would otherwise compute on the CPU and say nothing.

    Raises:
        JetloomError: it cannot.
    """
    if os.environ.get(CPU) or torch.cuda.is_available() or not (names := visible()):
        return
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    raise JetloomError(
        f"torch {torch.__version__} cannot use the GPUs of this process ({', '.join(names)}): it is {built}, the "
        f"driver is {driver() or 'not to be found'}; install a torch for this driver, or set {CPU}=1 to compute on "
        "the CPU"
    )


def exactly(tf32: bool = False) -> None:
    """Multiply single-precision numbers of a GPU as they are, in matrix products and in convolutions alike.

    By itself torch rounds the factors of convolutions to the 10 bits of TF32 and those of products not.

    Args:
        tf32: round both.
    """
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """In which precision a network predicts as long as this lasts; on a CPU always in single precision.

    Args:
        device: where.
        precision: 32, tf32, bf16 or 16.
    """
    exactly(tf32=precision == "tf32")
    short = {"bf16": torch.bfloat16, "16": torch.float16}.get(precision)
    on = short is not None and device.type == "cuda"
    return torch.autocast(device.type, short or torch.bfloat16, enabled=on)


def gpu_or_cpu() -> torch.device:
    """A GPU where there is one to be used, else the CPU; exact from now on.

    Raises:
        JetloomError: torch cannot use the GPUs of this process.
    """
    check_gpus()
    exactly()
    return torch.device("cuda" if gpu() else "cpu")
