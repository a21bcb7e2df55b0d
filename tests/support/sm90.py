"""Kernels compiled for a card that is not there (sm_90): that they compile, and how many registers they need."""

import re
import subprocess
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver


class Absent:
    """What Triton asks a driver before it compiles."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiling:
    """Stands in the place of a kernel: compiles what it is launched with, and does not run it.

    Args:
        kernel: the kernel.
        directory: for what is compiled.
    """

    def __init__(self, kernel: Any, directory: Path) -> None:
        driver.set_active(Absent())
        self.kernel, self.file = kernel, directory / "compiled.cubin"
        self.needs: dict[str, int] = {}
        """Of the latest launch: REG, registers of a thread; STACK, bytes for those that it has not."""

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*given: Any, **settings: Any) -> None:
            self.file.write_bytes(self.kernel.warmup(*given, grid=grid, **settings).asm["cubin"])
            tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
            command = [tool, "--dump-resource-usage", self.file]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self.needs = {name: int(value) for name, value in re.findall(r"(REG|STACK):(\d+)", said)}

        return launch
