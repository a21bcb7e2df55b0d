"""A GPU that is not there: torch believes in one, and each operation is checked for what a real one would not forgive.

To be imported before torch, in a process of its own. Afterwards ``device="cuda"``, page-locked memory, autograd,
autocast, GradScaler and a Lightning trainer work, on tensors that say they are on ``cuda:0`` and hold what a CPU
computes. An operation whose tensors are on different devices is an error, as with CUDA, and one for which the host
would wait is written down with the line that asked for it (:func:`recording`).

Not seen: times, the numerics of CUDA's kernels, atomics, streams, several GPUs. ``torch.inference_mode`` is
``no_grad``, as tensors of other classes cannot be made in it.
"""

import sys

if "torch" in sys.modules:
    raise ImportError("a pretended GPU has to be imported before torch")

from tests.support.pretended_gpu import library

library.load()

from tests.support.pretended_gpu import runtime, tensor  # noqa: E402
from tests.support.pretended_gpu.record import Event, Record, recording  # noqa: E402

runtime.pretend()
tensor.pretend()

__all__ = ["Event", "Record", "recording"]
