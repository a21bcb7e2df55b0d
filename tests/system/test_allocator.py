"""Memory that is freed stays with the process: later tensors come without a page fault."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from jetloom.system.allocator import keep_freed
if "keep" in sys.argv:
    keep_freed()

def step():
    # As in a training step: of several sizes, held for a while, freed in another order.
    held = [torch.ones(1 << power) for power in range(14, 25)]
    held += [value + 1 for value in held[::2]]
    del held[::2]

for _ in range(12):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    """Page faults of ten steps in a process of its own."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_memory_is_used_again():
    # Blocks above 32 MB are always mapped by themselves: 64 MB and more for each step, in pages of 4 kB.
    few, many = faults("keep"), faults()
    assert many > 10_000
    assert few < many / 20
