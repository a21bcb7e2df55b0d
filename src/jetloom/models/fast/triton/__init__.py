"""Kernels in Triton for a GPU. Not on by themselves: no card has said yet whether they pay.

``JETLOOM_TRITON=1`` in the environment lets them serve where there is a GPU and triton, which comes with torch for
CUDA. With ``TRITON_INTERPRET=1``, set before they are imported, they run on the CPU number by number: for tests.
"""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from jetloom.errors import JetloomError
from jetloom.models.fast import eager

WANTED = "JETLOOM_TRITON"
"""Variable that, set to 1, lets the kernels serve."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def serves(x: Tensor) -> bool:
    """On a GPU, where they are wanted.

    Raises:
        JetloomError: they are, and there is no triton.
    """
    if os.environ.get(WANTED) != "1" or not eager() or x.dtype not in DTYPES:
        return False
    if not (x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"):
        return False
    if find_spec("triton") is None:
        raise JetloomError(
            f"{WANTED}=1 needs the package triton, which is not installed; install it or leave {WANTED} out"
        )
    return True


def exactness() -> str:
    """How the factors of single-precision products are rounded, as in torch's own."""
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"


LEAST = 16
"""Rows and columns that tensor cores take."""


def tile(number: int) -> int:
    """Rows or columns of a tile with room for so many: a power of two."""
    return max(LEAST, 1 << max(number - 1, 0).bit_length())
