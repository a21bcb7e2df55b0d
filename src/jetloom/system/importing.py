"""Imports without a search for garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import modules without looking for garbage meanwhile, and never look at what they hold again.

    They leave none, but Python goes through all that it knows again and again while that grows, and twice more at the
    end of the process: more than a third of the time that a process needs to import torch and Lightning and to end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
