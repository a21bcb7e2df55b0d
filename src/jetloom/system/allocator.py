"""What the C library does with memory that tensors have left."""

import ctypes
import sys

# Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3
"""Larger blocks are mapped, and given back to the system when they are freed."""
_LARGEST = (1 << 31) - 1
_LARGEST_BLOCK = 1 << 30
_GROWTH = 64 << 20


def glibc() -> ctypes.CDLL | None:
    """The C library of this process if it is glibc."""
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return libc if hasattr(libc, "malloc_trim") else None  # musl has none


def keep_freed() -> None:
    """Keep freed memory for the next tensors instead of giving it back to the system.

    By itself glibc maps each large block anew, gives it back when it is freed, and cuts off the free end of its heap.
    What then comes back comes page by page, cleared by the system: 100,000 stops in an epoch of the demo's Linformer.
    The peak of a process stays the same within 2 %. Nothing happens with other C libraries.
    """
    libc = glibc()
    if libc is None:
        return
    libc.mallopt(M_MMAP_THRESHOLD, _LARGEST_BLOCK)
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    libc.mallopt(_M_TOP_PAD, _GROWTH)
