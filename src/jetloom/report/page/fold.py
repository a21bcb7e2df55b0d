"""What a page of many trainings shows folded: parts of data sets, and rows of long tables beyond the first ones."""

from collections.abc import Sequence
from typing import Any

from jetloom.report.figures import SHOWN
from jetloom.results.collection import Collection

LONG = 12
"""Rows of a table that are shown at once."""
MANY = 24
"""Trainings of a page that is not folded."""


class Fold:
    """How a page is folded.

    Args:
        collection: the results.
    """

    def __init__(self, collection: Collection) -> None:
        self.sections = len(collection.trainings) > MANY
        """Whether each data set has a part that opens."""
        trainings = collection.trainings
        self._architectures: dict[str, str] = {
            entry.model: result.training["architecture"] for entry, result in trainings
        }

    def variant(self, model: str) -> str:
        """Rows of the same one are variants of each other."""
        return self._architectures.get(model, model)

    def beyond(self, rows: Sequence[tuple[str, Any]]) -> list[bool]:
        """Which rows of a table are folded: of a long one all but the first of each architecture, then the next ones.

        The script of the page does the same with the rows as they are sorted.
        """
        if len(rows) <= LONG:
            return [False] * len(rows)
        variants = [self.variant(model) for model, _ in rows]
        first = [index for index, name in enumerate(variants) if name not in variants[:index]]
        others = [index for index in range(len(rows)) if index not in first]
        shown = {*first[:SHOWN], *others[: max(SHOWN - len(first), 0)]}
        return [index not in shown for index in range(len(rows))]
