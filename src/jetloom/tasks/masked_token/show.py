"""What the report shows of a masked prediction."""

from functools import partial
from typing import ClassVar, Literal

import numpy as np

from jetloom.results.collection import DataSet
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.probed import Probed
from jetloom.tasks.shows import Metric


class MaskedToken(Probed):
    """Probes, and how well hidden particles are guessed."""

    curves: ClassVar = {"loss": "Nats of a hidden particle", "accuracy": "Codes found"}

    def metrics(self, dataset: DataSet) -> list[Metric]:
        """Probes first, then hidden particles."""
        own: dict[str, tuple[str, Literal["higher", "lower"], str]] = {
            "token_accuracy": ("Codes found", "higher", "hidden particles whose code is the likeliest one"),
            "nats": ("Nats", "lower", "cross entropy of a hidden particle"),
            "nats_gained": ("Nats gained", "higher", "over who knows only how often each code occurs"),
        }
        return [
            *super().metrics(dataset),
            *(
                Metric(name, title, better, partial(over_seeds, name=name), name, hint)
                for name, (title, better, hint) in own.items()
            ),
        ]

    def guessing(self, dataset: DataSet) -> dict[str, float]:
        """Who knows how often each code occurs."""
        known = [result.history.get("val_unigram") for entry in dataset.entries for result in entry.results]
        told = [item for item in known if item is not None]
        return {"loss": float(np.mean([np.mean(item) for item in told]))} if len(told) == len(known) else {}


SHOW = MaskedToken()
