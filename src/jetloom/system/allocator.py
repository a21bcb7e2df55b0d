"""What the C library does with memory that tensors have left."""

import ctypes
import sys

# Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_LARGEST = (1 << 31) - 1
_LARGEST_BLOCK = 1 << 30
_GROWTH = 64 << 20


def keep_freed() -> None:
    """Keep freed memory for the next tensors instead of giving it back to the system.

    By itself glibc maps each large block anew, gives it back when it is freed, and cuts off the free end of its heap.
    What then comes back comes page by page, cleared by the system: half a million stops in a training of the demo.
    The peak of a process stays what it is. Nothing happens with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):  # musl
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
    libc.mallopt(_M_TOP_PAD, _GROWTH)
