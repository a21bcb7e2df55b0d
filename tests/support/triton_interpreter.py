"""Triton's interpreter: kernels on the CPU, number by number. To be imported before any of them."""

import os

os.environ["TRITON_INTERPRET"] = "1"

from typing import Any

import numpy as np
from triton.runtime import interpreter


def mend() -> None:
    """Let products of bfloat16 be products: the interpreter holds such numbers as their bits, and multiplies those."""
    plain = interpreter.InterpreterBuilder.create_dot

    def wide(x: Any) -> Any:
        if x.dtype.scalar.name != "bf16":
            return x
        return interpreter.TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), interpreter.tl.float32)

    def create_dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        return plain(self, wide(a), wide(b), *others)

    interpreter.InterpreterBuilder.create_dot = create_dot


mend()
