"""Data sets that trainings of the same experiment make: tokens, decoded and generated jets, and mixtures of them."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from jetloom.config.dataset import Dataset
from jetloom.config.effects import remakes
from jetloom.config.mistakes import validate
from jetloom.config.section import Count, Different, Name, Strict
from jetloom.config.values import merge

JETS_PER_FILE = 10_000
"""Of generated jets."""
KINEMATIC = ("kin", "jetclr", "salt_hls4ml", "salt_top", "salt_qg")
"""Feature sets that need nothing but momenta, which is all that a code stands for."""


class Tokenise(Strict):
    """Jets as codes of their particles: by a training of this experiment, or by released weights."""

    dataset: str = Field(description="one of `datasets`, whose jets are tokenised")
    model: str | None = Field(None, description="one of its models, a tokenizer; without it `checkpoint`")
    seed: int | None = Field(None, ge=0, description="one of its seeds")
    checkpoint: str | None = Field(None, description="file of released weights instead of a training")
    architecture: str | None = Field(None, description="of `checkpoint`: `jetloom models`")
    preset: str = Field("published", description="of `checkpoint`: its size")
    options: dict[str, Any] = Field(default_factory=dict, description="of `checkpoint`: over those of its preset")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Tokenise":
        if self.checkpoint is None and (self.model is None or self.seed is None):
            raise ValueError("expected model and seed of a training, or checkpoint and architecture of a file")
        if self.checkpoint is not None and (self.model is not None or self.architecture is None):
            raise ValueError("checkpoint: expected its architecture beside it, and no model")
        if self.options and self.checkpoint is None:
            raise ValueError("options: expected beside checkpoint; those of a training are in per_model")
        return self


class Generate(Strict):
    """Jets that a generator draws."""

    dataset: str = Field(description="one of `datasets`: the tokens that it was trained on")
    model: str = Field(description="one of its models, trained for `next_token`")
    seed: int = Field(ge=0, description="one of its seeds")
    jets: dict[str, Count] = Field(min_length=1, description="how many, for each split")
    temperature: float = Field(1.0, gt=0, description="divides the logits")
    top_k: int | None = Field(None, ge=1, description="only the likeliest so many tokens; default: all")


class MadeBy(Strict):
    """What makes a derived data set: one of these."""

    tokenise: Tokenise | None = Field(None, description="jets as codes, and what the codes stand for")
    generate: Generate | None = Field(None, description="jets that a generator draws")
    compare: Annotated[Different[Name], Field(min_length=2)] | None = Field(
        None, description="equally many jets of each of these data sets, whose names are the classes"
    )
    halves: Name | None = Field(
        None, description="the jets of this data set in two equal halves, which no tagger can tell apart"
    )
    truth: Name | None = Field(
        None, description="beside `compare`: data set whose test jets a tagger then assigns to the compared ones"
    )

    @model_validator(mode="after")
    def _one(self) -> "MadeBy":
        if sum(item is not None for item in (self.tokenise, self.generate, self.compare, self.halves)) != 1:
            raise ValueError("expected one of tokenise, generate, compare, halves")
        if self.truth is not None and (self.compare is None or self.truth in self.compare):
            raise ValueError("truth: expected beside `compare`, and none of its data sets")
        return self

    @property
    def mixture(self) -> list[str]:
        """Data sets whose jets are told apart; none where it is no mixture."""
        return self.compare or ([self.halves] if self.halves else [])

    @property
    def sources(self) -> list[str]:
        """Data sets that it is made from."""
        if self.mixture:
            return self.mixture
        made = self.tokenise or self.generate
        assert made is not None
        return [made.dataset]


class DerivedDataset(Dataset):
    """A data set that trainings made: what it does not say itself is that of its source."""

    kind: Literal["jets", "tokens"] = Field(
        "jets", description="jets of particles with four-vectors, or codes", json_schema_extra=remakes("skims")
    )
    classes: Different[str] = Field(min_length=1, description="label names", json_schema_extra=remakes("skims"))
    feature_set: Literal["kin", "salt_hls4ml", "salt_top", "salt_qg", "jetclr", "codes"] = Field(  # type: ignore[assignment]
        description="inputs per particle that follow from its momentum; `codes`: the code",
        json_schema_extra=remakes("tensors"),
    )
    simulated: bool = Field(False, description="what it is made from is", json_schema_extra=remakes("tensors"))
    derived: Literal["tokenised", "decoded", "generated", "compared"] = Field(
        description="what its jets are", json_schema_extra=remakes("tensors")
    )
    codes: int | None = Field(None, ge=2, description="how many there are", json_schema_extra=remakes("tensors"))


def derived_dataset(
    name: str, made_by: MadeBy, sources: Mapping[str, Dataset], changes: Mapping[str, Any], codes: int | None
) -> DerivedDataset:
    """The settings of a derived data set.

    Args:
        name: of the data set.
        made_by: what makes it.
        sources: settings of what it is made from, by name.
        changes: keys of ``per_dataset.<name>`` that are settings of a data set.
        codes: of the tokenizer; None: a mixture.

    Raises:
        JetloomError: an unknown key, or a value that is not allowed.
    """
    source = sources[made_by.sources[0]]
    tokens = changes.get("kind") == "tokens"
    kept = {"licence", "citation", "homepage", "simulated", "source", "max_particles", "buckets", "seed", "preset"}
    inherited = source.model_dump(mode="json", include=kept)
    inherited["feature_set"] = "codes" if tokens else _kinematic(source)
    inherited["codes"] = codes
    if made_by.tokenise:
        classes = changes.get("classes", source.classes)
        signals = {label: point for label, point in source.working_points.items() if label in classes}
        background = source.background if source.background in classes else None
        inherited |= {
            "title": f"{source.title}, {'tokenised' if tokens else 'decoded'}",
            "derived": "tokenised" if tokens else "decoded",
            "classes": source.classes,
            "background": background,
            "working_points": {key: value for key, value in signals.items() if key != background},
            "shards": {split: source.shards.get(split, 1) for split in source.splits},
            "splits": {split: _numbered(split, source.shards.get(split, 1)) for split in source.splits},
        }
    elif made_by.generate:
        jets = made_by.generate.jets
        inherited |= {
            "title": f"{source.title.removesuffix(', tokenised')}, generated",
            "derived": "generated",
            "classes": source.classes if len(source.classes) == 1 else ["generated"],
            "splits": {split: _numbered(split, math.ceil(number / JETS_PER_FILE)) for split, number in jets.items()},
        }
    else:
        if made_by.halves:
            title, classes = f"two halves of {made_by.halves}", [f"{made_by.halves}_{half}" for half in (1, 2)]
        else:
            title, classes = f"{' and '.join(made_by.sources)} told apart", made_by.sources
        common = [split for split in source.splits if all(split in other.splits for other in sources.values())]
        inherited |= {
            "title": title,
            "derived": "compared",
            "classes": classes,
            "max_particles": max(other.max_particles for other in sources.values()),
            "buckets": source.buckets if len({tuple(other.buckets) for other in sources.values()}) == 1 else [],
            "splits": {split: _numbered(split, len(classes)) for split in common},
        }
    return validate(DerivedDataset, merge(inherited, changes), f"per_dataset.{name}")


def stored_dataset(name: str, settings: Mapping[str, Any]) -> DerivedDataset:
    """The settings of a derived data set from those that a directory of it was made with, which name all that counts.

    Raises:
        JetloomError: they are not such settings.
    """
    return validate(DerivedDataset, {"title": name, "licence": "", "citation": "", **settings}, name)


def _numbered(split: str, files: int) -> list[str]:
    return [f"{split}_{number:03d}" for number in range(files)]


def _kinematic(source: Dataset) -> str:
    return source.feature_set if source.feature_set in KINEMATIC else "kin"
