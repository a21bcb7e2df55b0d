"""HDF5 as numbers of one file: nothing in it is unpickled, nothing in it leads to another file of the machine."""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import blosc2
import h5py
import numpy as np
from numpy.typing import NDArray

from jetloom.errors import JetloomError

LARGEST_CHUNK = 1 << 28
"""Bytes of a compressed piece, which is unpacked as a whole."""
BLOSC = 32001
"""Number of the filter by which PyTables compresses (HDF5's registry of filters); HDF5 itself does not have it."""
UNTRUSTED = "the file is not to be trusted"


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; what h5py raises meanwhile becomes one line.

    Raises:
        JetloomError: not HDF5, truncated or damaged.
    """
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()
        what = reason[0] if reason else type(error).__name__
        raise JetloomError(f"{path}: not a readable HDF5 file, truncated or damaged ({what}); fetch it again") from None


def stored(path: Path, group: h5py.Group, key: str) -> h5py.Dataset | None:
    """The array of that name, all of which is in this very file; None if it is none.

    Raises:
        JetloomError: it is a link or leads to another file, parts of it are missing, or its pieces are too large.
    """
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise JetloomError(f"{path}: {key!r} is a link, perhaps to another file of this machine; {UNTRUSTED}")
    array = group[key]
    if not isinstance(array, h5py.Dataset) or array.shape is None:
        return None
    if array.is_virtual or array.external:
        raise JetloomError(f"{path}: {key!r} takes its content from another file; {UNTRUSTED}")
    # What was never written is read as a filling: petabytes in a small file.
    if array.chunks is None:
        there, expected, unit = array.id.get_storage_size(), array.nbytes, "bytes"
    else:
        pieces = [-(-size // piece) for size, piece in zip(array.shape, array.chunks, strict=True)]
        there = array.id.get_num_chunks() if array.size else 0
        expected, unit = math.prod(pieces), "pieces"
        if (largest := math.prod(array.chunks) * array.dtype.itemsize) > LARGEST_CHUNK:
            raise JetloomError(f"{path}: {key!r} comes in pieces of {largest} bytes; at most {LARGEST_CHUNK} are read")
    if there < expected:
        raise JetloomError(f"{path}: {key!r} has {there} of {expected} {unit}, truncated or damaged; fetch it again")
    return array


def rows(table: h5py.Dataset, first: int, last: int) -> NDArray[np.void]:
    """Rows of a table (one dimension), also where PyTables has compressed them with Blosc.

    Raises:
        ValueError: a piece is damaged.
    """
    filters = table.id.get_create_plist()
    if [filters.get_filter(index)[0] for index in range(filters.get_nfilters())] != [BLOSC]:
        plain: NDArray[np.void] = table[first:last]
        return plain
    (piece,) = table.chunks
    parts = [
        _unpacked(table, start)[max(first - start, 0) : last - start]
        for start in range(first // piece * piece, last, piece)
    ]
    return np.concatenate(parts)


def _unpacked(table: h5py.Dataset, start: int) -> NDArray[np.void]:
    skipped, data = table.id.read_direct_chunk((start,))
    size = table.chunks[0] * table.dtype.itemsize
    if not skipped:
        # Format 2 is Blosc 1, its five codecs and filters (c-blosc/README_CHUNK_FORMAT.rst); only what the header
        # announces is allocated.
        version, _, flags, _, announced, _, length = struct.unpack("<4B3I", data[:16].ljust(16, b"\0"))
        if version != 2 or flags >> 5 > 4 or flags & 5 == 5 or (announced, length) != (size, len(data)):
            raise ValueError(f"the piece at row {start} is not Blosc of {size} bytes")
        try:
            data = blosc2.decompress(data)
        except RuntimeError:
            raise ValueError(f"the piece at row {start} cannot be unpacked") from None
    if len(data) != size:
        raise ValueError(f"the piece at row {start} has {len(data)} of {size} bytes")
    return np.frombuffer(data, table.dtype)
