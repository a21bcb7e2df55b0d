"""What is imported is not gone through for garbage; what comes after is."""

import gc
import subprocess
import sys

import pytest

from jetloom.system.importing import importing

PASSES = """
import gc, sys
from contextlib import nullcontext
from jetloom.system.importing import importing
passes = []
gc.set_threshold(700, 10, 10)
gc.callbacks.append(lambda phase, about: passes.append(about["generation"]) if phase == "start" else None)
with importing() if "importing" in sys.argv else nullcontext():
    import jetloom.config
print(len(passes))
"""


def test_nothing_is_gone_through_meanwhile():
    def passes(*arguments: str) -> int:
        command = [sys.executable, "-c", PASSES, *arguments]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert passes("importing") == 0 < 20 < passes()


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_found_again_afterwards_whatever_happens(fails):
    frozen = gc.get_freeze_count()
    try:
        with importing():
            assert not gc.isenabled()
            if fails:
                raise ImportError
    except ImportError:
        pass
    assert gc.isenabled() and gc.get_freeze_count() > frozen
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()
    gc.enable()
    found = []
    cycle = {"end": type("End", (), {"__del__": lambda self: found.append(1)})()}
    cycle["self"] = cycle
    del cycle
    gc.collect()
    assert found == [1]
