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


WIDEST = 128
"""Channels of a tile at most."""


def serves_rows(x: Tensor) -> bool:
    """As :func:`serves`, for rows (..., D) that are not too wide."""
    return x.shape[-1] <= WIDEST and serves(x)


def factors(x: Tensor) -> torch.dtype:
    """In which the factors of products with x are: autocast's where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


LEAST = 16
"""Rows and columns that tensor cores take."""


def tile(number: int) -> int:
    """Rows or columns of a tile with room for so many: a power of two."""
    return max(LEAST, 1 << max(number - 1, 0).bit_length())


ROWS = 64
"""Of a tile."""
OF_EACH = 4
"""Programs for each multiprocessor."""


def fitting(number: int, kind: torch.dtype) -> int:
    """So many rows or columns of a tile; in single precision, whose factors take twice the room, half as many."""
    return number // (kind.itemsize // 2)


def multiprocessors(x: Tensor) -> int:
    """Of the device; in the interpreter one."""
    return torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 1


def shared_rows(x: Tensor, of_tile: int = ROWS, programs: int | None = None) -> tuple[tuple[int], dict[str, int]]:
    """Programs, at most so many, and how they share the rows of x (n, D)."""
    tiles = -(-len(x) // of_tile)
    number = max(1, min(tiles, OF_EACH * multiprocessors(x) if programs is None else programs))
    return (number,), {"rows": len(x), "tiles": tiles, "programs": number, "ROWS": of_tile}
