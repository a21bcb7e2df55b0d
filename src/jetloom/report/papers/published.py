"""Published figures: the tables of papers as data, each value with its uncertainty, its source and how sure it is."""

from functools import cache
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from jetloom.catalogue import cards
from jetloom.config import Strict, validate

Status = Literal["read", "second-hand", "recalled"]
"""``read``: in the source itself or a paper that reprints it; ``second-hand``: quoted by others (reviews, slides);
``recalled``: from memory, shown with a mark and never a target."""


class Source(Strict):
    """Where values were found."""

    text: str = Field(description="reference, with the table")
    status: Status


class Printed(NamedTuple):
    """One published figure."""

    printed: str
    """As in the source, without the uncertainty."""
    value: float
    spread: float | None
    """Uncertainty as printed, over trainings; None: none is printed."""
    source: Source

    @property
    def step(self) -> float:
        """One unit of the last printed digit."""
        return 10.0 ** -len(self.printed.partition(".")[2])

    @property
    def rounding(self) -> float:
        """Standard deviation of what the rounding hides."""
        return self.step / 12**0.5


class Row(Strict):
    """One line of a published table, and which training of ours would repeat it."""

    title: str
    model: str | None = Field(None, description="architecture; none: it is not among ours, the line is for orientation")
    run: str | None = Field(None, description="name of the model in an experiment; default: the name of the row")
    dataset: str | None = Field(None, description="default: that of the table")
    train: int | None = Field(None, description="training jets; default: those of the table")
    max_particles: int | None = Field(None, description="length of the jets; default: that of the table")
    options: dict[str, Any] = Field(default_factory=dict, description="over those of the architecture's preset")
    training: dict[str, Any] = Field(default_factory=dict, description="over the recipe of the architecture's preset")
    fine_tuned: bool = Field(False, description="started from the weights of another training")
    unlike: str | None = Field(None, description="in what our training of this name cannot be the published one")
    source: str = Field(description="key of the table's sources")
    source_of: dict[str, str] = Field(default_factory=dict, description="other sources of single values")
    values: dict[str, str] = Field(default_factory=dict, description="metric: figure as printed, `a` or `a ± b`")


class PublishedTable(Strict):
    """``catalogue/published/<name>.yaml``: a table of a paper and under which conditions its figures hold."""

    title: str
    paper: str
    dataset: str = Field(description="preset of the data set")
    preset: str = Field(description="preset of the models: published size and recipe")
    train: int = Field(description="training jets")
    test: int = Field(description="test jets")
    background: int | None = Field(None, description="background jets among them, behind each rejection")
    feature_set: str
    max_particles: int
    metrics: list[str] = Field(description="columns")
    sources: dict[str, Source]
    rows: dict[str, Row]

    @model_validator(mode="after")
    def _known_sources(self) -> "PublishedTable":
        for name, row in self.rows.items():
            for key in (row.source, *row.source_of.values()):
                if key not in self.sources:
                    raise ValueError(f"rows.{name}: no source {key!r}")
            for metric, text in row.values.items():
                _number(text, f"rows.{name}.values.{metric}")
        return self

    def value(self, row: str, metric: str) -> Printed | None:
        """A figure of a row; None: it is not published."""
        line = self.rows[row]
        if metric not in line.values:
            return None
        source = self.sources[line.source_of.get(metric, line.source)]
        printed, value, spread = _number(line.values[metric], metric)
        return Printed(printed, value, spread, source)


def names() -> list[str]:
    """Names of all published tables."""
    return cards.names("published")


@cache
def published(name: str) -> PublishedTable:
    """A published table.

    Raises:
        JetloomError: there is no such table, or its file has a mistake.
    """
    return validate(PublishedTable, cards.read("published", name), f"published {name}")


def _number(text: str, where: str) -> tuple[str, float, float | None]:
    printed, plus_minus, spread = (part.strip() for part in text.partition("±"))
    try:
        return printed, float(printed), float(spread) if plus_minus else None
    except ValueError:
        raise ValueError(f"{where}: expected `a` or `a ± b`, got {text!r}") from None
