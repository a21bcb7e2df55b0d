"""Where data sets lie that trainings of an experiment make, and what each of their files is made from."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetloom.config import DatasetChanges, DerivedDataset, MadeBy, Run
from jetloom.config.derived import JETS_PER_FILE
from jetloom.config.makers import maker_of
from jetloom.errors import JetloomError
from jetloom.identity.code import fingerprint
from jetloom.identity.digests import short
from jetloom.workflow.data import DataPlan, RawFile

if TYPE_CHECKING:
    from jetloom.workflow.plan import Plan

VERBS = {"tokenise": "tokenised", "generate": "generated", "compare": "compared", "halves": "compared"}
"""What makes a set, and how the directory of its skims begins."""


class DerivedPlan(DataPlan):
    """The directories and files of one derived data set.

    They lie with the results, since they depend on a training of the experiment.

    Args:
        plan: of the experiment.
        name: of the data set.
        dataset: its settings.
        changes: what the experiment says of it.
        made_by: what makes it.
    """

    dataset: DerivedDataset

    def __init__(
        self, plan: "Plan", name: str, dataset: DerivedDataset, changes: DatasetChanges, made_by: MadeBy
    ) -> None:
        # A catalogue knows no such preset.
        self.root, self.name, self.dataset = plan.experiment.data_directory, name, dataset
        self.preset = self.family = name
        self.home = f"{plan.results}/derived"
        self.changed, self.given_raw = changes.model_extra or {}, None
        self.plan, self.made_by = plan, made_by

    @property
    def kind(self) -> str:
        """``tokenise``, ``generate``, ``compare`` or ``halves``."""
        return next(name for name in VERBS if getattr(self.made_by, name) is not None)

    @property
    def maker(self) -> Run | None:
        """The training that makes it; None: there is none."""
        return maker_of(self.plan.experiment, self.name)

    @property
    def sources(self) -> list[DataPlan]:
        """Data sets that it is made from."""
        return [self.plan.data[name] for name in self.made_by.sources]

    @property
    def tokenizer(self) -> tuple[str, str]:
        """Checkpoint of the tokenizer whose codes it holds, and what is known of it beforehand.

        Raises:
            JetloomError: a file of released weights is missing.
        """
        if self.made_by.generate:
            source = self.sources[0]
            assert isinstance(source, DerivedPlan)
            return source.tokenizer
        made = self.made_by.tokenise
        assert made is not None
        if made.checkpoint:
            path = Path(made.checkpoint)
            if not path.is_file():
                raise JetloomError(f"per_dataset.{self.name}.made_by.tokenise.checkpoint: no file {path}")
            return made.checkpoint, short(made.checkpoint, path.stat().st_size, path.stat().st_mtime_ns)
        assert self.maker is not None
        return f"{self.plan.directory(self.maker)}/best.ckpt", self.plan.trainings[self.maker].key

    @property
    def checkpoints(self) -> list[str]:
        """Checkpoints that its files are made with."""
        if self.made_by.mixture:
            return []
        own = [f"{self.plan.directory(self.maker)}/best.ckpt"] if self.maker and self.made_by.generate else []
        return [*own, self.tokenizer[0]]

    @cached_property
    def raw(self) -> dict[str, RawFile]:
        """None: trainings make the skims."""
        return {}

    @cached_property
    def skim_settings(self) -> dict[str, Any]:
        """What the skims are made from."""
        keys = [self.plan.trainings[self.maker].key] if self.maker else []
        keys += [self.tokenizer[1]] if not self.made_by.mixture else []
        sources = [Path(source.tensors_directory).name for source in self.sources]
        if self.made_by.mixture:
            sources = [short(source.skims(split)) for source in self.sources for split in self.dataset.splits]
        module = self.kind if self.kind in ("tokenise", "generate") else "mix"
        return {
            "holds": "skims",
            "settings": self.made_by.model_dump(mode="json", exclude_none=True, exclude={"truth"})
            | {"classes": self.dataset.classes, "seed": self.dataset.seed},
            "trainings": keys,
            "sources": sources,
            "code": fingerprint(f"jetloom.derived.{module}"),
        }

    @cached_property
    def skim_directory(self) -> str:
        """Directory of the skims."""
        return f"{self.home}/{VERBS[self.kind]}-{short(self.skim_settings)}"

    def skim(self, name: str) -> str:
        """A skim by its name in ``splits``."""
        return f"{self.skim_directory}/{name}.parquet"

    def inputs(self, split: str, number: int) -> list[str]:
        """What a skim is made from, besides checkpoints."""
        if self.made_by.generate:
            return []
        if self.made_by.mixture:
            return [path for source in self.sources for path in source.skims(split)]
        source = self.sources[0]
        return [source.manifest, f"{source.tensors_directory}/{split}_{number:03d}.safetensors"]

    @property
    def truth(self) -> DataPlan | None:
        """Whose test jets a tagger of a mixture assigns to its parts; None: nobody's."""
        return self.plan.data[self.made_by.truth] if self.made_by.truth else None

    def jets(self, split: str, number: int) -> int:
        """Generated jets of a file."""
        assert self.made_by.generate is not None
        return min(JETS_PER_FILE, self.made_by.generate.jets[split] - number * JETS_PER_FILE)

    @property
    def reference(self) -> DataPlan | None:
        """What its jets should be like; None: they are to be told apart, or are no jets.

        Decoded jets should be like those that were tokenised, generated ones like decoded ones, if there are any.
        """
        if self.made_by.mixture or self.dataset.kind != "jets":
            return None
        source = self.sources[0]
        if self.made_by.tokenise:
            return source
        assert isinstance(source, DerivedPlan)
        decoded = (
            other
            for other in self.plan.data.values()
            if isinstance(other, DerivedPlan)
            and other.made_by.tokenise == source.made_by.tokenise
            and other.dataset.kind == "jets"
            and other.dataset.classes == source.dataset.classes
        )
        return next(decoded, source.sources[0])

    def places(self) -> dict[str, dict[str, Any]]:
        """Directories that it fills, with the content of their ``about.json``."""
        return {self.skim_directory: self.skim_settings, self.tensors_directory: self.tensor_settings}
