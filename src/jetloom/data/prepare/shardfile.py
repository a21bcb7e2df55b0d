"""The file of a shard: safetensors, written and read array by array through a memory map.

The library's own writer wants all arrays in memory at once; a shard of JetClass has gigabytes. The format is eight
bytes of header length, a JSON header, and the arrays one after the other (github.com/huggingface/safetensors).
"""

import errno
import json
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jetloom.data.prepare.manifest import SCHEMA_VERSION
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "I16": np.dtype("<i2")}
CODES = {dtype: code for code, dtype in DTYPES.items()}
DESCRIBED = {
    *("dataset", "split", "shard", "jets", "per_class", "per_bucket", "truncated", "observers", "made_from"),
    "made_with",
}
"""What the manifest needs to know of a shard."""
LONGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""
AGAIN = "make it again with `jetloom tensors shard`"


@contextmanager
def create(
    output: Path, arrays: Mapping[str, tuple[type, tuple[int, ...]]], described: Mapping[str, Any]
) -> Iterator[tuple[dict[str, NDArray[Any]], Callable[[], None]]]:
    """A new shard whose arrays, zero at first, are to be filled; it appears under its name when all went well.

    Yields the arrays, and a function that takes what was filled out of the memory of this process (its pages go to the
    file when the system likes; without it a shard counts as memory as large as it is).

    Args:
        output: file to write.
        arrays: type and shape of each, by name.
        described: what the shard says about itself, noted in the header.
    """
    layout: dict[str, tuple[int, int, np.dtype[Any], tuple[int, ...]]] = {}
    header: dict[str, Any] = {"__metadata__": {"jetloom": json.dumps(described, sort_keys=True)}}
    position = 0
    # Wide types first, so that every array is aligned.
    for name in sorted(arrays, key=lambda name: (-np.dtype(arrays[name][0]).itemsize, name)):
        dtype, shape = np.dtype(arrays[name][0]), arrays[name][1]
        end = position + dtype.itemsize * int(np.prod(shape))
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [position, end]}
        layout[name] = (position, end, dtype, shape)
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with appearing(output) as partial:
        with partial.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            if position and hasattr(os, "posix_fallocate"):
                # A full disk is an error here; in a mapped file it would kill the process.
                file.flush()
                os.posix_fallocate(file.fileno(), 8 + len(text), position)
            file.truncate(8 + len(text) + position)
        if position:
            with partial.open("r+b") as file:
                mapped = mmap.mmap(file.fileno(), 0)
            data = np.frombuffer(mapped, np.uint8, offset=8 + len(text))
            filled: dict[str, NDArray[Any]] = {
                name: data[first:last].view(dtype).reshape(shape)
                for name, (first, last, dtype, shape) in layout.items()
            }
            yield filled, lambda: mapped.madvise(mmap.MADV_DONTNEED)
            mapped.flush()
        else:
            yield {}, lambda: None


def read_header(shard: Path) -> dict[str, Any]:
    """What a shard says about itself.

    Raises:
        JetloomError: not a shard of this version.
    """
    header, _ = _header(shard)
    try:
        described: dict[str, Any] = json.loads(header["__metadata__"]["jetloom"])
    except (ValueError, KeyError, TypeError):
        raise JetloomError(f"{shard}: safetensors, but no shard; {AGAIN}") from None
    if described.get("schema_version") != SCHEMA_VERSION or not described.keys() >= DESCRIBED:
        raise JetloomError(f"{shard}: not a shard of version {SCHEMA_VERSION}; {AGAIN}")
    return described


def open_arrays(shard: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a shard, mapped and not read; no descriptor of the file stays open.

    Raises:
        JetloomError: missing, truncated or damaged file, or a limit of the system.
    """
    header, start = _header(shard)
    header.pop("__metadata__", None)
    with _readable(shard):
        expected = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if shard.stat().st_size != start + expected:
            raise ValueError(f"{shard.stat().st_size} bytes, expected {start + expected}")
        if not expected:
            return {}
        # mmap of Python, and so numpy.memmap, keeps a descriptor for each file; a system allows about a thousand.
        with pa.memory_map(str(shard)) as file:
            data = np.frombuffer(file.read_buffer(), np.uint8)[start:]
        return {name: _array(data, **entry) for name, entry in sorted(header.items())}


def _array(data: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: list[int]) -> NDArray[Any]:
    first, last = data_offsets
    # numpy takes places from the end and sizes that it shall find out.
    if min(first, last, *shape, 0) < 0:
        raise ValueError(f"a negative place or size in {data_offsets}, {shape}")
    return data[first:last].view(DTYPES[dtype]).reshape(shape)


def _header(shard: Path) -> tuple[dict[str, Any], int]:
    with _readable(shard):
        with shard.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > min(shard.stat().st_size, LONGEST_HEADER):
                raise ValueError(f"truncated, or a header of {size} bytes")
            header = json.loads(file.read(size))
        if not isinstance(header, dict):
            raise ValueError("no header")
    return header, 8 + size


@contextmanager
def _readable(shard: Path) -> Iterator[None]:
    """Make one line of what is wrong with a shard, or with the machine that reads it."""
    try:
        yield
    except FileNotFoundError:
        raise JetloomError(f"{shard}: no such shard; {AGAIN}") from None
    except OSError as error:
        more = "; raise the limit of open files (ulimit -n)" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
        raise JetloomError(f"{shard}: cannot be opened ({error.strerror or error}){more}") from None
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise JetloomError(f"{shard}: not a readable shard ({error}); {AGAIN}") from None
