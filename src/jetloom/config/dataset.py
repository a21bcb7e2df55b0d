"""A data set: its files, its classes, and what of them a model sees."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jetloom.config.effects import remakes
from jetloom.config.section import Below, Count, Different, Fraction, Strict
from jetloom.config.values import expand_braces


class Simulation(Strict):
    """How a simulated data set is made."""

    jets: dict[str, Count] = Field(description="jets (or meshes) per class and raw file, for each split")
    seed: int = Field(1, ge=0, description="same seed, same jets")
    detector: Literal["jetclass", "ideal"] = Field("jetclass", description="ideal: tracks keep their momentum")
    mpi: bool = Field(True, description="multiparton interactions")


class RemoteFile(Strict):
    """One file of a public data set, as its publisher offers it."""

    name: Below = Field(
        pattern=r"^[\w.+-]+(/[\w.+-]+)*$", description="below a mirror; without `holds` also the raw file"
    )
    url: str = Field("", description="at the publisher")
    size: int | None = Field(None, ge=0, description="bytes")
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$", description="checksum; without one it is learnt")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="checksum, before md5")
    holds: list[Below] = Field(
        default_factory=list, description="raw files or directories an archive holds, or may hold"
    )
    rename: dict[str, Below] = Field(
        default_factory=dict, description="pattern of a member's whole path: path instead; the first that fits"
    )

    def raw_files(self) -> list[str]:
        """Raw files that come from this one, brace ranges expanded."""
        return [name for pattern in self.holds for name in expand_braces(pattern)] or [self.name]


Files = Annotated[list[Below], Field(min_length=1)]


class Dataset(Strict):
    """A data set: preset plus the changes of ``per_dataset``."""

    title: str = Field(description="name in the report", json_schema_extra=remakes("nothing"))
    kind: Literal["jets", "points", "tokens"] = Field(
        description="jets of particles with four-vectors, point clouds, or (of derived data sets) codes",
        json_schema_extra=remakes("skims"),
    )
    source: str = Field(
        description="module of jetloom.data.sources that reads the raw files", json_schema_extra=remakes("skims")
    )
    simulated: bool = Field(
        False, description="made by jetloom; the report says so", json_schema_extra=remakes("nothing")
    )
    licence: str = Field(description="of the public files", json_schema_extra=remakes("nothing"))
    citation: str = Field(description="BibTeX", json_schema_extra=remakes("nothing"))
    homepage: str = Field("", description="where the files are published", json_schema_extra=remakes("nothing"))
    classes: Different[str] = Field(
        min_length=2, description="label names; the position is the class index", json_schema_extra=remakes("skims")
    )
    background: str | None = Field(
        None, description="class against which rejections are quoted", json_schema_extra=remakes("evaluation")
    )
    working_points: dict[str, Fraction] = Field(
        default_factory=dict, description="signal efficiency per class", json_schema_extra=remakes("evaluation")
    )
    size: str = Field("", description="to download, in words", json_schema_extra=remakes("nothing"))
    files: list[RemoteFile] = Field(
        default_factory=list, description="what to download", json_schema_extra=remakes("raw")
    )
    jets_per_file: dict[str, Count] = Field(
        default_factory=dict,
        description="about how many jets (or meshes) a raw file holds, by a pattern of its name; for `jetloom plan`",
        json_schema_extra=remakes("nothing"),
    )
    mirrors: list[str] = Field(
        default_factory=list,
        description="tried before the publisher: URLs, file:// or directories that hold `files`",
        json_schema_extra=remakes("nothing"),
    )
    splits: dict[Literal["train", "val", "test"] | Annotated[str, Field(pattern=r"^test_\w+$")], Files] = Field(
        description="raw files of each split", json_schema_extra=remakes("tensors")
    )
    selection: dict[str, tuple[float | None, float | None]] = Field(
        default_factory=dict,
        description="closed range [low, high] of a jet column; null is open",
        json_schema_extra=remakes("skims"),
    )
    feature_set: Literal["kin", "kinpid", "kindisp", "full", "salt_hls4ml", "salt_top", "salt_qg", "jetclr", "xyz"] = (
        Field(
            description="7, 13, 11 or 17 inputs per particle, or 3 as SAL-T or JetCLR have them; 3 per point",
            json_schema_extra=remakes("tensors"),
        )
    )
    max_particles: int = Field(
        128,
        ge=1,
        description="particles (or points) kept, those of highest pT",
        json_schema_extra=remakes("tensors", points="skims"),
    )
    buckets: list[Count] = Field(
        default_factory=list,
        description="padded lengths; the last is max_particles",
        json_schema_extra=remakes("tensors", points="skims"),
    )
    shards: dict[str, Count] = Field(
        default_factory=dict, description="shards per split; default 1", json_schema_extra=remakes("tensors")
    )
    seed: int = Field(
        1,
        ge=0,
        description="of the mixing and of the points sampled on a mesh",
        json_schema_extra=remakes("tensors", points="skims"),
    )
    simulation: Simulation | None = Field(
        None, description="how to make the raw files; null: they are public", json_schema_extra=remakes("raw")
    )
    preset: str | None = Field(
        None, description="model preset that fits this data set", json_schema_extra=remakes("nothing")
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Dataset":
        if self.buckets and (self.buckets != sorted(set(self.buckets)) or self.buckets[-1] != self.max_particles):
            raise ValueError(f"buckets must rise and end at max_particles = {self.max_particles}, got {self.buckets}")
        jets = self.simulation.jets if self.simulation else {}
        for section, splits in (("shards", self.shards), ("simulation.jets", jets)):
            for split in splits:
                if split not in self.splits:
                    raise ValueError(f"{section}.{split}: no such split; allowed: {', '.join(self.splits)}")
        if self.simulation and (missing := self.splits.keys() - jets):
            raise ValueError(f"simulation.jets: missing for {', '.join(sorted(missing))}")
        for column, (low, high) in self.selection.items():
            if low is not None and high is not None and low > high:
                raise ValueError(f"selection.{column}: the low end {low:g} is above the high end {high:g}")
        if self.background in self.working_points:
            raise ValueError(f"working_points.{self.background}: it is the background; expected classes of signal")
        for name in [*self.working_points, *([self.background] if self.background else [])]:
            if name not in self.classes:
                raise ValueError(f"{name} is not among the classes {', '.join(self.classes)}")
        owner: dict[str, str] = {}
        for split in self.splits:
            for file in self.raw_files(split):
                if file in owner:
                    raise ValueError(f"splits.{split}: {file} is in {owner[file]} already; a file may be listed once")
                owner[file] = split
        return self

    def raw_files(self, split: str) -> list[str]:
        """Raw files of a split, relative to the data set's raw directory, brace ranges expanded."""
        return [name for pattern in self.splits[split] for name in expand_braces(pattern)]
