"""From raw files to batches."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Lazy: skimming needs no torch.
    if name == "Batch":
        from jetloom.batch import Batch

        return Batch
    if name == "Loader":
        from jetloom.data.read.loader import Loader

        return Loader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
