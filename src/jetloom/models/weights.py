"""Files of published weights: names and tensors, read without running anything in them."""

import json
import pickle
import shlex
import struct
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jetloom.errors import JetloomError

SUFFIXES = (".pt", ".safetensors")
"""How the names of such files end; every other file is taken for the checkpoint of a training."""
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LONGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""
DAMAGED = (
    *(OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError),
    *(LookupError, TypeError, AttributeError, struct.error),
)
"""What reading a damaged file raises; it has no common class."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a file of torch.save, or of a file of safetensors, which ends in ``.safetensors``.

    Raises:
        JetloomError: no such file, damaged, more than tensors in it, or no state dict.
    """
    if not path.is_file():
        raise JetloomError(f"no checkpoint {path}")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise JetloomError(told_if_pickled(path) or f"{path} is no readable checkpoint of tensors: {reason}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise JetloomError(f"{path} holds no state dict (names and tensors)")
    return state


def told_if_pickled(path: Path) -> str | None:
    """One line on a checkpoint with pickled objects in it, such as Lightning's with its authors' hyper-parameters.

    Returns:
        What the objects are and how to convert the file; None: it is something else.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except DAMAGED:
        return None
    if not names:
        return None
    target = path.with_suffix(".pt")
    code = (
        f"import torch; torch.save(torch.load({str(path)!r}, 'cpu', weights_only=False)['state_dict'], {str(target)!r})"
    )
    return (
        f"{path} holds more than tensors ({', '.join(sorted(names)[:3])}), and reading that runs what the file says; "
        f'if you trust it, convert it once (docs/transfer.md, "Released weights"): python -c {shlex.quote(code)}'
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Eight bytes of header length, a JSON header, and the tensors one after the other.

    Format: github.com/huggingface/safetensors.
    """
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > min(path.stat().st_size, LONGEST_HEADER):
            raise ValueError(f"truncated, or a header of {size} bytes")
        header: dict[str, Any] = json.loads(file.read(size))
        header.pop("__metadata__", None)
        content = file.read()
    return {name: _tensor(memoryview(content), name, **entry) for name, entry in header.items()}


def _tensor(content: memoryview, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    first, last = data_offsets
    if dtype not in DTYPES:
        raise ValueError(f"{name} is of type {dtype}; known: {', '.join(DTYPES)}")
    if min(first, *shape, 0) < 0 or last - first != prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{name} of shape {shape} cannot be in bytes {first} to {last}")
    if last > len(content):
        raise ValueError(f"truncated, {name} is not whole")
    own = bytearray(content[first:last])
    return torch.frombuffer(own, dtype=DTYPES[dtype]).reshape(shape) if own else torch.empty(shape)
