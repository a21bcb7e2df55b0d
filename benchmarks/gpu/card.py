"""The card, and what a result says about it."""

import sys
from typing import Any

import torch
from measure import machine

from jetloom.errors import JetloomError
from jetloom.system.device import check_gpus, exactly
from jetloom.system.gpus import driver


def found() -> torch.device:
    """The GPU; ends the process in one line where there is none."""
    try:
        check_gpus()
    except JetloomError as error:
        sys.exit(f"day.py: {error}")
    if not torch.cuda.is_available():
        sys.exit(f"day.py: torch {torch.__version__} sees no GPU on this machine; nothing was run")
    exactly()
    return torch.device("cuda")


def described(card: torch.device) -> dict[str, Any]:
    """Machine, versions, commit and date as in every result, and card, driver and CUDA."""
    properties = torch.cuda.get_device_properties(card)
    return machine(card) | {
        "card": torch.cuda.get_device_name(card),
        "memory_gb": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "driver": driver(),
        "cuda": torch.version.cuda,
        "triton": _triton(),
    }


def _triton() -> str | None:
    try:
        import triton
    except ImportError:
        return None
    version: str = triton.__version__
    return version
