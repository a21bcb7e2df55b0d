"""What prepared tensors hold: the contents of ``manifest.json`` and of a shard's header."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from jetloom.errors import JetloomError

SCHEMA_VERSION = 2


class Entry(BaseModel):
    """A section of the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Entry):
    """A file that the tensors were made from."""

    file: str
    sha256: str


class Shard(Entry):
    """A file of tensors, relative to the manifest."""

    file: str
    sha256: str
    jets: int


class Split(Entry):
    """Shards of a split and the jets in them."""

    jets: int
    per_class: dict[str, int]
    per_bucket: dict[str, int]
    truncated: int
    shards: list[Shard]


class Manifest(Entry):
    """Prepared tensors of one data set."""

    schema_version: int
    dataset: str
    kind: str
    simulated: bool
    source: str
    feature_set: str
    features: list[str]
    standardisation: list[tuple[str, float | None, float | None, float | None, float | None]]
    classes: list[str]
    observers: list[str]
    max_particles: int
    buckets: list[int]
    selection: dict[str, tuple[float | None, float | None]]
    seed: int
    splits: dict[str, Split]
    made_from: list[Source]
    derived: str | None = None
    """What its jets are, if trainings made them; None: they were not."""
    codes: int | None = None
    """How many codes a tokenizer has; None: it has nothing to do with the data."""
    digest: str = ""

    @property
    def width(self) -> int:
        """F of ``Batch.features``; of codes how many there are."""
        return self.codes if self.kind == "tokens" and self.codes else len(self.features)

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read ``manifest.json``.

        Raises:
            JetloomError: no such file, not a manifest, or of another version of jetloom.
        """
        try:
            values = json.loads(Path(path).read_text())
        except FileNotFoundError:
            raise JetloomError(f"{path}: no such manifest; `jetloom tensors manifest` writes one") from None
        except (ValueError, RecursionError):
            raise JetloomError(f"{path}: not a manifest (no JSON)") from None
        if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
            raise JetloomError(f"{path}: not a manifest of version {SCHEMA_VERSION}; make the tensors again")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise JetloomError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def text(self, indent: int | None = None, exclude: Collection[str] = ()) -> str:
        """As JSON. What came later is left out where it says nothing: digests of what was made before stay."""
        later = {name for name in ("derived", "codes") if getattr(self, name) is None}
        return self.model_dump_json(indent=indent, exclude={*exclude, *later})

    def signed(self) -> "Manifest":
        """The same with ``digest``, the sha256 of everything else."""
        content = self.text(exclude={"digest"})
        return self.model_copy(update={"digest": hashlib.sha256(content.encode()).hexdigest()})
